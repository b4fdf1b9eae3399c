//! Which addresses this machine has: for `baton check`, and for people who wonder what `public_address` should be.

use std::net::IpAddr;

/// Addresses of this machine that other machines may reach, IPv4 first.
pub fn addresses() -> Vec<IpAddr> {
    let mut ours: Vec<IpAddr> = webrtc_util::ifaces::ifaces()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|interface| interface.addr.map(|address| address.ip()))
        .filter(|address| !address.is_loopback() && !is_link_local(*address))
        .collect();
    ours.sort();
    ours.dedup();
    ours
}

/// Whether an address means something only within one network (RFC 1918, RFC 4193).
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_others_reach_are_listed() {
        for address in addresses() {
            assert!(
                !address.is_loopback() && !is_link_local(address),
                "{address}"
            );
        }
        assert!(
            is_private("10.0.0.1".parse().unwrap()) && !is_private("203.0.113.1".parse().unwrap())
        );
    }
}
