# The bridge alone in an empty image: one static binary, no shell, not root.
#   docker build -t baton .
#   docker run --network host -v baton-data:/data baton
# RTP wants host networking, or few published ports: see docker-compose.yml.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# The C library is linked in. Host names of agents are looked up by glibc, which reads /etc/resolv.conf and /etc/hosts
# by itself; what static glibc warns of are the name service plugins of a full system, which are not here.
# --target keeps the flag away from build scripts and procedural macros, which must stay dynamic.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(rustc -vV | sed -n 's/^host: //p')" \
    && cargo build --release --locked --bin baton --target "$target" \
    && mkdir -p /image/data /image/tmp /image/etc \
    && strip --strip-debug -o /image/baton "target/$target/release/baton" \
    && printf 'baton:x:10001:10001:baton:/data:/baton\n' > /image/etc/passwd \
    && printf 'hosts: files dns\n' > /image/etc/nsswitch.conf \
    && chown -R 10001:10001 /image/data /image/tmp
# A dynamic binary would not start in the empty image; fail here, where somebody reads it.
RUN ! readelf -l /image/baton | grep INTERP

FROM scratch
COPY --from=build /image/ /
USER 10001:10001
WORKDIR /data
VOLUME /data
# SIP, HTTP (loopback unless configured), and the bridged variant's hundred RTP ports.
EXPOSE 5060/udp 5060/tcp 8080/tcp 10000-10099/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s CMD ["/baton", "health"]
ENTRYPOINT ["/baton"]
CMD ["serve"]
