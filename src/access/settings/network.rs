//! core: an address or a network of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An IP address or network, such as `192.0.2.7`, `10.1.0.0/16` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// What is wrong with a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is neither an address nor a network.
    #[error("`{text}` is no IP address and no network")]
    Form {
        /// What was written.
        text: String,
    },
    /// More bits than the address has.
    #[error("`/{bits}` is too long: the address has {most} bits")]
    Bits {
        /// What was written.
        bits: u8,
        /// 32 or 128.
        most: u8,
    },
    /// Bits behind the prefix are set: a slip, or an address is meant.
    #[error("`{text}` is not the beginning of a network, `{network}` is")]
    Host {
        /// What was written.
        text: String,
        /// The network it lies in.
        network: Network,
    },
}

impl Network {
    /// Whether `address` lies in it. An IPv4 address that a dual-stack socket shows as IPv6 is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
            (network, address) => (bits(network) ^ bits(address)) & self.mask() == 0,
        }
    }

    /// The bits that count, from the left of 128.
    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix_bits)).unwrap_or(0)
    }
}

/// The bits of an address from the left.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let form = || NetworkError::Form { text: text.to_owned() };
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| form())?)),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.unwrap_or(most);
        if prefix_bits > most {
            return Err(NetworkError::Bits { bits: prefix_bits, most });
        }
        let network = Self { address, prefix_bits };
        let first = bits(address) & network.mask();
        if first != bits(address) {
            let address = match address {
                IpAddr::V4(_) => {
                    let [a, b, c, d, ..] = first.to_be_bytes();
                    IpAddr::from([a, b, c, d])
                }
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(first)),
            };
            let network = Self { address, prefix_bits };
            return Err(NetworkError::Host { text: text.to_owned(), network });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix_bits == all {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        let network: Network = network.parse().expect("a network");
        network.contains(address.parse().expect("an address"))
    }

    #[test]
    fn an_address_lies_in_its_networks_only() {
        for (network, address) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.0/24", "192.0.2.255"),
            ("10.0.0.0/8", "10.255.1.2"),
            ("0.0.0.0/0", "203.0.113.9"),
            ("fd00::/8", "fd12::1"),
            ("::/0", "2001:db8::1"),
            ("192.0.2.0/24", "::ffff:192.0.2.9"),
        ] {
            assert!(contains(network, address), "{network} {address}");
        }
        for (network, address) in [
            ("192.0.2.7", "192.0.2.6"),
            ("192.0.2.0/24", "192.0.3.0"),
            ("192.0.2.128/25", "192.0.2.127"),
            ("0.0.0.0/0", "::1"),
            ("::/0", "127.0.0.1"),
            ("fd00::/8", "fe80::1"),
        ] {
            assert!(!contains(network, address), "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_says_why() {
        let error = |text: &str| text.parse::<Network>().expect_err(text).to_string();
        assert_eq!(error("plc"), "`plc` is no IP address and no network");
        assert_eq!(error("10.0.0.0/x"), "`10.0.0.0/x` is no IP address and no network");
        assert_eq!(error("10.0.0.0/33"), "`/33` is too long: the address has 32 bits");
        assert_eq!(
            error("10.1.2.3/16"),
            "`10.1.2.3/16` is not the beginning of a network, `10.1.0.0/16` is"
        );
        assert_eq!(
            error("fd00::1/8"),
            "`fd00::1/8` is not the beginning of a network, `fd00::/8` is"
        );
    }
}
