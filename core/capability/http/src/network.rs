//! Vetting of IP addresses. Distinguishes the public internet from special-purpose networks,
//! according to the registries of IANA (<https://www.iana.org/assignments/iana-ipv4-special-registry>
//! and …ipv6-special-registry) and the addresses at which clouds serve credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Networks that can be reached only with a grant that names them, each with a description.
const SPECIAL: [(&str, &str); 27] = [
    ("0.0.0.0/8", "an address of this host"),
    ("10.0.0.0/8", "a private address"),
    // Includes the metadata service of a cloud, 100.100.100.200.
    ("100.64.0.0/10", "a shared address of a carrier network"),
    ("127.0.0.0/8", "a loopback address"),
    // Includes the metadata service of most clouds, 169.254.169.254.
    ("169.254.0.0/16", "a link-local address, where clouds serve credentials"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "a reserved address"),
    ("192.0.2.0/24", "an address reserved for documentation"),
    ("192.88.99.0/24", "a reserved address"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "an address reserved for benchmarks"),
    ("198.51.100.0/24", "an address reserved for documentation"),
    ("203.0.113.0/24", "an address reserved for documentation"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),
    ("::/128", "an address of this host"),
    ("::1/128", "a loopback address"),
    ("64:ff9b:1::/48", "a private address behind a translator"),
    ("100::/64", "a reserved address"),
    // Teredo, benchmarks, ORCHID.
    ("2001::/23", "a reserved address"),
    ("2001:db8::/32", "an address reserved for documentation"),
    ("3fff::/20", "an address reserved for documentation"),
    ("5f00::/16", "a reserved address"),
    // Includes the metadata service of a cloud, fd00:ec2::254.
    ("fc00::/7", "a private address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a private address"),
    ("ff00::/8", "a multicast address"),
];

/// Checks that an address may be connected to: it is public, or in one of the granted networks. The
/// error is a description of the address.
pub(super) fn check_address(address: IpAddr, granted: &[IpNet]) -> Result<(), &'static str> {
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("not an address of a server");
    }
    let reached = inner(address);
    match special(address).or_else(|| reached.and_then(special)) {
        None => Ok(()),
        Some(_) if granted.iter().any(|network| network.contains(&address)) => Ok(()),
        Some(_) if reached.is_some_and(|reached| granted.iter().any(|network| network.contains(&reached))) => Ok(()),
        Some(what) => Err(what),
    }
}

fn special(address: IpAddr) -> Option<&'static str> {
    SPECIAL
        .iter()
        .find(|(network, _)| network.parse::<IpNet>().expect("the table contains only networks").contains(&address))
        .map(|(_, what)| *what)
}

/// Returns the IPv4 address that is embedded in an IPv6 address: by a translator (NAT64, RFC 6052),
/// by a tunnel (6to4, RFC 3056), or in the deprecated IPv4-compatible form (RFC 4291, section
/// 2.5.5.1).
fn inner(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let segments = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if v6 != Ipv6Addr::LOCALHOST => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(address: &str) -> bool {
        check_address(address.parse().expect(address), &[]).is_ok()
    }

    #[test]
    fn special_purpose_networks_are_not_public() {
        for address in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.0",
            "2607:f8b0::1",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(public(address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    #[test]
    fn a_grant_permits_only_the_named_network() {
        let granted: Vec<IpNet> =
            vec!["127.0.0.1/32".parse().expect("a network"), "10.0.0.0/8".parse().expect("a network")];
        let reaches = |address: &str| check_address(address.parse().expect(address), &granted).is_ok();
        assert!(reaches("127.0.0.1") && reaches("::ffff:127.0.0.1") && reaches("10.9.8.7") && reaches("8.8.8.8"));
        assert!(!reaches("127.0.0.2") && !reaches("192.168.0.1") && !reaches("::1"));
        // An address that no server can have is refused even if it is granted.
        let everything: Vec<IpNet> = vec!["0.0.0.0/0".parse().expect("a network"), "::/0".parse().expect("a network")];
        assert!(check_address("0.0.0.0".parse().expect("an address"), &everything).is_err());
    }
}
