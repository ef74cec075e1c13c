//! Addresses, networks and tables as people write them, and as the kernel does.

use std::net::IpAddr;

use tidelock_sdk::Error;

/// The routing table `main` by its number.
pub(crate) const MAIN: u32 = 254;
/// The kernel's own.
const LOCAL: u32 = 255;

/// What is wrong with the number of a routing table that is to be set.
pub(crate) fn no_table(number: u32) -> Option<String> {
    match number {
        0 => Some("0 is no routing table: `main` is 254, which is what nothing said means".to_owned()),
        LOCAL => Some("255 is the kernel's own routing table, `local`, in which it keeps its addresses".to_owned()),
        _ => None,
    }
}

/// An address with a length, in the one spelling; `host` says whether bits beyond the length
/// stay.
pub(crate) fn prefix(text: &str, host: bool) -> Result<String, String> {
    let (address, length) = split(text)?;
    let address = if host { address } else { network(address, length) };
    Ok(format!("{address}/{length}"))
}

/// An address and its length. Without one it is a host's.
pub(crate) fn split(text: &str) -> Result<(IpAddr, u8), String> {
    let not = || match text {
        "default" | "any" | "all" => format!("{text:?} is spelled 0.0.0.0/0, or ::/0 for IPv6"),
        _ => format!("{text:?} is no address with a length, such as 10.0.0.1/24"),
    };
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().map_err(|_| not())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Ok(most), |length| length.parse::<u8>().map_err(|_| not()))?;
    if length > most { Err(not()) } else { Ok((address, length)) }
}

/// The bits of an address up to a length.
pub(crate) fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

/// Identities of the networks that an address may be reached through, as [`reaches`] spells
/// them: every length of IPv4, the usual ones of IPv6.
pub(crate) fn reached_through(address: IpAddr) -> Vec<String> {
    const USUAL: [u8; 14] = [128, 127, 126, 125, 124, 120, 116, 112, 104, 96, 80, 64, 56, 48];
    let lengths: Vec<u8> = if address.is_ipv4() { (8..=32).rev().collect() } else { USUAL.to_vec() };
    lengths.into_iter().map(|length| reaches(network(address, length), length)).collect()
}

/// The identity of a network that somebody is in.
pub(crate) fn reaches(network: IpAddr, length: u8) -> String {
    format!("reach:{network}/{length}")
}

/// An error of a field.
pub(crate) fn bad(field: &str, why: String) -> Error {
    Error { field: Some(field.to_owned()), ..Error::target("invalid", why) }
}
