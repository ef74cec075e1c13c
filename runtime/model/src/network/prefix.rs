//! Addresses with a length, as `10.0.0.1/24`, and what lies within what.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An address and how many of its leading bits name the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Joins the two.
    ///
    /// # Errors
    /// More bits than an address of that family has.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, String> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        if length > most {
            return Err(format!("{address}/{length}: the length is {most} at most"));
        }
        Ok(Self { address, length })
    }

    /// The address, with the bits beyond the length.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of leading bits.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The network alone: the bits beyond the length are 0.
    #[must_use]
    pub fn network(&self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        };
        Self { address, length: self.length }
    }

    /// Whether every address of `other` is one of this network.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.length <= other.length
            && Self { address: other.address, length: self.length }.network() == self.network()
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let not = || format!("{text:?} is not an address with a length, such as 10.0.0.0/8 or 2001:db8::/32");
        let (address, length) = text.split_once('/').ok_or_else(not)?;
        // `+8` and `08` are numbers to Rust, and a second spelling to everybody else.
        let plain = length == "0" || !length.starts_with(['0', '+']);
        let length = length.parse().ok().filter(|_| plain).ok_or_else(not)?;
        Self::new(address.parse().map_err(|_| not())?, length)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_what_lies_within_it_alone() {
        for (outer, inner, holds) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.0.0.0/8", "11.0.0.0/16", false),
            ("10.0.0.0/8", "0.0.0.0/0", false),
            ("10.0.0.0/16", "10.0.0.0/8", false),
            ("0.0.0.0/0", "10.0.0.0/8", true),
            ("0.0.0.0/0", "::/0", false),
            ("::/0", "10.0.0.0/8", false),
            ("2001:db8::/32", "2001:db8:1::/48", true),
            ("2001:db8::/32", "2001:db9::/48", false),
            ("10.0.0.1/32", "10.0.0.1/32", true),
            ("10.0.0.1/32", "10.0.0.2/32", false),
        ] {
            assert_eq!(prefix(outer).contains(&prefix(inner)), holds, "{outer} {inner}");
        }
        assert_eq!(prefix("10.1.2.3/8").network(), prefix("10.0.0.0/8"));
        assert_eq!(prefix("10.1.2.3/0").network(), prefix("0.0.0.0/0"));
    }

    #[test]
    fn there_is_one_spelling() {
        for bad in ["10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0/8", "x/8", "10.0.0.0/ 8"]
        {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
        assert_eq!(prefix("2001:DB8:0:0::1/64").to_string(), "2001:db8::1/64");
    }
}
