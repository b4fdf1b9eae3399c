# SIPp with this repository's scenarios. Captured RTP goes out through a raw socket, so it runs as root in its container.
FROM debian:bookworm-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends sip-tester \
    && rm -rf /var/lib/apt/lists/*
COPY sipp-scenarios /scenarios
WORKDIR /scenarios
ENTRYPOINT ["sipp", "-m", "1", "-nostdin", "-timeout", "60s", "-timeout_error", "-trace_err", "-error_file", "/dev/stderr"]
