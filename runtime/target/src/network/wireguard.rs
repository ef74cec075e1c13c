//! What WireGuard interfaces are set to, through the system's own `wg`; and interfaces
//! themselves where the kernel makes none, by `wireguard-go`.
//!
//! **Invariant.** A secret key goes to `wg` on its input and comes from it on its output: it is
//! never among a program's words or in its environment, and what is shown of an interface holds
//! none ([`look`]).
//!
//! An interface of `wireguard-go` is a tun device and a socket. The file system shows that
//! socket to every namespace, so it is looked for among those of this one: an interface of the
//! same name elsewhere is not taken for ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tidelock_model::error::{Blame, Fault};
use tidelock_model::network::{Peer, Preshared, PresharedWord, Wireguard, wireguard_key};
use tidelock_model::secret::{SecretName, SecretValue};

use super::fault;
use super::program::Program;

const WG: Program = Program { name: "wg", paths: &["/usr/bin/wg", "/usr/sbin/wg"], package: "wireguard-tools" };
const WIREGUARD_GO: Program = Program {
    name: "wireguard-go",
    paths: &["/usr/bin/wireguard-go", "/usr/sbin/wireguard-go", "/usr/local/bin/wireguard-go"],
    package: "wireguard-go, or a kernel with WireGuard,",
};
/// The sockets of this thread's namespace.
const SOCKETS: &str = "/proc/thread-self/net/unix";
/// So long after a handshake a session ends (REJECT_AFTER_TIME of the WireGuard paper): until
/// then a peer is where it was last heard.
const SESSION: Duration = Duration::from_secs(180);
/// How long a program may take to leave with its device.
const LEAVE: Duration = Duration::from_secs(3);

/// Values of secrets, by name.
pub(crate) type Keys = BTreeMap<SecretName, Result<SecretValue, Fault>>;

/// Whether a tun device here is an interface of `wireguard-go`.
pub(super) fn serves(link: &str) -> bool {
    let end = format!("/wireguard/{link}.sock");
    std::fs::read_to_string(SOCKETS).is_ok_and(|sockets| sockets.lines().any(|line| line.ends_with(&end)))
}

/// Makes an interface where the kernel has none of its own.
pub(super) fn make(link: &str) -> Result<(), Fault> {
    let ended = WIREGUARD_GO.run(&[link], b"")?;
    if ended.success {
        // It goes on in the background, and sets its own packet size until it answers.
        return asked(link, "listen-port").map(drop);
    }
    let used = ended.stderr.contains("in use");
    let fault = WIREGUARD_GO.complaint(&ended.stderr);
    Err(if used {
        fault.hint(format!(
            "another network namespace of this machine has a {link}: interfaces of wireguard-go need names of their own"
        ))
    } else {
        fault
    })
}

/// Waits until the program behind a device that was removed is gone, so that its name is free.
pub(super) fn gone(link: &str) {
    let ends = Instant::now() + LEAVE;
    while serves(link) && Instant::now() < ends {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What an interface is set to; `None` where it has no private key, as one that is new.
pub(super) fn look(link: &str) -> Result<Option<Wireguard>, Fault> {
    let dump = asked(link, "dump")?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    read_dump(link, std::str::from_utf8(dump.reveal()).unwrap_or_default(), now)
}

/// Whether a secret is the private key of an interface, or the preshared key of a peer; `None` where
/// the interface has no private key, as one that is new.
pub(super) fn is_key(link: &str, peer: Option<&str>, value: &SecretValue) -> Result<Option<bool>, Fault> {
    let dump = asked(link, "dump")?;
    Ok(keyed(std::str::from_utf8(dump.reveal()).unwrap_or_default(), peer, value))
}

/// Whether a dump of `wg` has a secret where a key is.
fn keyed(dump: &str, peer: Option<&str>, value: &SecretValue) -> Option<bool> {
    let wanted = std::str::from_utf8(value.reveal()).ok().and_then(|text| wireguard_key(text).ok());
    let (first, peers) = dump.split_once('\n').unwrap_or((dump, ""));
    let private = first.split('\t').next().filter(|key| !matches!(*key, "" | "(none)"))?;
    let is_wanted = |key: &str| Some(key) == wanted;
    Some(match peer {
        None => is_wanted(private),
        Some(peer) => peers.lines().any(|line| {
            let mut fields = line.split('\t');
            fields.next() == Some(peer) && fields.next().is_some_and(is_wanted)
        }),
    })
}

/// All of an interface's settings, keys included, for whoever will set them again.
pub(super) fn remembered(link: &str) -> Result<SecretValue, Fault> {
    let ended = WG.run(&["showconf", link], b"")?;
    if ended.success { Ok(ended.stdout) } else { Err(WG.complaint(&ended.stderr)) }
}

/// Sets an interface to what it was.
pub(super) fn restore(link: &str, remembered: &SecretValue) -> Result<(), Fault> {
    set(link, remembered.reveal())
}

/// Sets an interface: what differs, and nothing of a peer that is as it should be. `now` is what
/// is there.
pub(super) fn put(wanted: &Wireguard, now: Option<&Wireguard>, keys: &Keys) -> Result<(), Fault> {
    let link = &wanted.link;
    let live = if now.is_some() { Some(remembered(link)?) } else { None };
    let live = live.as_ref().and_then(|live| std::str::from_utf8(live.reveal()).ok()).unwrap_or_default();
    let (text, lost) = conf(wanted, live, keys)?;
    set(link, text.reveal())?;
    if lost {
        let message = format!("the keys that {link} had are known to nobody; it has those of now");
        return Err(fault("lost", message).hint("apply again: the keys come from your secrets"));
    }
    Ok(())
}

/// Takes the key and all peers from an interface.
pub(super) fn clear(link: &str) -> Result<(), Fault> {
    set(link, b"[Interface]\n")
}

fn set(link: &str, conf: &[u8]) -> Result<(), Fault> {
    let ended = WG.run(&["syncconf", link, "/dev/stdin"], conf)?;
    if ended.success { Ok(()) } else { Err(WG.complaint(&ended.stderr)) }
}

fn asked(link: &str, what: &str) -> Result<SecretValue, Fault> {
    let ended = WG.run(&["show", link, what], b"")?;
    if ended.success { Ok(ended.stdout) } else { Err(WG.complaint(&ended.stderr)) }
}

/// Reads what `wg show LINK dump` prints. `now` is the time, in seconds.
fn read_dump(link: &str, text: &str, now: i64) -> Result<Option<Wireguard>, Fault> {
    let odd = || fault("wg", format!("wg shows of {link} what cannot be read"));
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let first = lines.next().ok_or_else(odd)?;
    let [private_key, _public_key, port, _mark] = first[..] else { return Err(odd()) };
    if private_key == "(none)" {
        return Ok(None);
    }
    let listen_port = Some(port.parse().map_err(|_| odd())?);
    let mut set = Wireguard { link: link.to_owned(), private_key: None, listen_port, peers: BTreeMap::new() };
    for line in lines {
        let [key, preshared, endpoint, allowed, handshake, _received, _sent, keepalive] = line[..] else {
            return Err(odd());
        };
        let mut allowed_ips = Vec::new();
        for prefix in allowed.split(',').filter(|text| *text != "(none)") {
            allowed_ips.push(prefix.parse().map_err(|_| odd())?);
        }
        allowed_ips.sort();
        let handshake: i64 = handshake.parse().map_err(|_| odd())?;
        let session = i64::try_from(SESSION.as_secs()).unwrap_or(i64::MAX);
        let peer = Peer {
            preshared_key: Preshared::Word(match preshared {
                "(none)" => PresharedWord::None,
                _ => PresharedWord::Hidden,
            }),
            endpoint: endpoint.parse().ok(),
            allowed_ips,
            keepalive: if keepalive == "off" { 0 } else { keepalive.parse().map_err(|_| odd())? },
            heard: handshake > 0 && now.saturating_sub(handshake) < session,
        };
        set.peers.insert(key.to_owned(), peer);
    }
    Ok(Some(set))
}

/// Room for all of a configuration: what moves leaves a copy behind.
fn room(wanted: &Wireguard) -> usize {
    let prefixes: usize = wanted.peers.values().map(|peer| peer.allowed_ips.len()).sum();
    1024 + 512 * wanted.peers.len() + 64 * prefixes
}

/// The configuration to set, in wg's own words, and whether keys that it should keep are not
/// there any more. `live` is the one of now.
fn conf(wanted: &Wireguard, live: &str, keys: &Keys) -> Result<(SecretValue, bool), Fault> {
    let live = Live::read(live);
    let value = |name: &SecretName| -> Result<&str, Fault> {
        let none = || Fault::new("invalid", Blame::Host, format!("the secret {name} was not handed over"));
        let value = keys.get(name).ok_or_else(none)?.as_ref().map_err(Clone::clone)?;
        let text = std::str::from_utf8(value.reveal()).unwrap_or_default();
        wireguard_key(text).map_err(|why| fault("invalid", format!("the secret {name}: {why}")))
    };
    let mut lost = false;
    let private_key = match &wanted.private_key {
        Some(key) => Some(value(&key.name)?),
        None => live.interface.get("PrivateKey").copied(),
    };
    lost |= wanted.private_key.is_none();
    let mut text = String::with_capacity(room(wanted));
    text.push_str("[Interface]\n");
    let mut add = |name: &str, value: &str| {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{name} = {value}");
    };
    if let Some(key) = private_key {
        add("PrivateKey", key);
    }
    match wanted.listen_port {
        Some(port) => add("ListenPort", &port.to_string()),
        // What is not asked for stays.
        None => live.interface.get("ListenPort").into_iter().for_each(|port| add("ListenPort", port)),
    }
    live.interface.get("FwMark").into_iter().for_each(|mark| add("FwMark", mark));
    for (public, peer) in &wanted.peers {
        wireguard_key(public).map_err(|why| fault("invalid", format!("the public key {public}: {why}")))?;
        add("\n[Peer]\nPublicKey", public);
        match &peer.preshared_key {
            Preshared::Secret(key) => add("PresharedKey", value(&key.name)?),
            Preshared::Word(PresharedWord::None) => {}
            Preshared::Word(PresharedWord::Hidden) => {
                match live.peers.get(public.as_str()).and_then(|peer| peer.get("PresharedKey")) {
                    Some(key) => add("PresharedKey", key),
                    None => lost = true,
                }
            }
        }
        let allowed: Vec<String> = peer.allowed_ips.iter().map(ToString::to_string).collect();
        add("AllowedIPs", &allowed.join(", "));
        if let Some(endpoint) = peer.endpoint {
            add("Endpoint", &endpoint.to_string());
        }
        add("PersistentKeepalive", &peer.keepalive.to_string());
    }
    Ok((SecretValue::new(text.into_bytes()), lost))
}

/// What `wg showconf` printed, by section.
#[derive(Default)]
struct Live<'t> {
    interface: BTreeMap<&'t str, &'t str>,
    peers: BTreeMap<&'t str, BTreeMap<&'t str, &'t str>>,
}

impl<'t> Live<'t> {
    fn read(text: &'t str) -> Self {
        let mut live = Self::default();
        let mut peer: Option<&'t str> = None;
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
                continue;
            };
            if name == "PublicKey" {
                peer = Some(value);
            }
            match peer {
                None => live.interface.insert(name, value),
                Some(peer) => live.peers.entry(peer).or_default().insert(name, value),
            };
        }
        live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
    const B: &str = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=";
    const C: &str = "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=";

    fn seen(text: &str) -> Wireguard {
        read_dump("wg0", text, 1_000_000).unwrap().unwrap()
    }

    #[test]
    fn a_dump_is_read_without_its_keys() {
        let text = format!(
            "{A}\t{B}\t51820\toff\n\
             {B}\t(none)\t192.0.2.1:51820\t10.9.0.2/32,10.1.0.0/16\t0\t0\t0\toff\n\
             {C}\t{A}\t[2001:db8::1]:7\t(none)\t999900\t1\t2\t25\n"
        );
        let set = seen(&text);
        let json = serde_json::to_string(&set).unwrap();
        assert!(!json.contains(A), "{json}");
        assert_eq!((set.listen_port, set.peers.len()), (Some(51820), 2));
        let (b, c) = (&set.peers[B], &set.peers[C]);
        assert_eq!(b.allowed_ips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.1.0.0/16", "10.9.0.2/32"]);
        assert_eq!((b.heard, c.heard, b.keepalive, c.keepalive), (false, true, 0, 25));
        assert_eq!(c.preshared_key, Preshared::Word(PresharedWord::Hidden));
        assert_eq!(read_dump("wg0", "(none)\t(none)\t0\toff\n", 1).unwrap(), None);
        assert!(read_dump("wg0", "nonsense\n", 1).is_err());
    }

    #[test]
    fn a_secret_is_found_where_it_is_the_key_and_nowhere_else() {
        let text = format!(
            "{A}\t{B}\t51820\toff\n{B}\t(none)\t(none)\t10.0.0.0/8\t0\t0\t0\toff\n\
             {C}\t{A}\t(none)\t(none)\t0\t0\t0\toff\n"
        );
        let is = |peer, value: &str| keyed(&text, peer, &SecretValue::new(value.into()));
        assert_eq!(
            (is(None, &format!("{A}\n")), is(None, B), is(None, "(none)")),
            (Some(true), Some(false), Some(false))
        );
        assert_eq!((is(Some(C), A), is(Some(C), B), is(Some(B), A)), (Some(true), Some(false), Some(false)));
        assert_eq!((is(Some(B), "(none)"), is(Some(A), A)), (Some(false), Some(false)));
        let new = "(none)\t(none)\t0\toff\n";
        assert_eq!(keyed(new, None, &SecretValue::new(A.into())), None);
        assert_eq!(keyed("", None, &SecretValue::new(A.into())), None);
    }

    #[test]
    fn what_is_set_has_room_for_all_of_it_from_the_beginning() {
        let allowed = vec!["2001:db8:1111:2222:3333:4444:5555:6666/128"; 100].join(",");
        let peers: String =
            [A, C].map(|key| format!("{key}\t{B}\t[2001:db8:1:2:3:4:5:6]:65535\t{allowed}\t0\t0\t0\t65535\n")).concat();
        let wanted = seen(&format!("{A}\t{B}\t65535\toff\n{peers}"));
        let peers: String = [A, C].map(|key| format!("\n[Peer]\nPublicKey = {key}\nPresharedKey = {B}\n")).concat();
        let live = format!("[Interface]\nFwMark = 0xffffffff\nPrivateKey = {A}\n{peers}");
        let (text, _) = conf(&wanted, &live, &Keys::new()).unwrap();
        assert!(text.reveal().len() < room(&wanted), "it moved: {}", text.reveal().len());
    }

    #[test]
    fn what_is_set_has_the_keys_of_the_secrets_and_keeps_what_is_not_asked_for() {
        let name = |text: &str| text.parse::<SecretName>().unwrap();
        let key = |text: &str| tidelock_model::network::Key { name: name(text), mac: None };
        let mut wanted = seen(&format!("{A}\t{B}\t7\toff\n{B}\t(none)\t192.0.2.1:1\t10.0.0.0/8\t0\t0\t0\t25\n"));
        (wanted.private_key, wanted.listen_port) = (Some(key("vpn/key")), None);
        wanted.peers.get_mut(B).unwrap().preshared_key = Preshared::Secret(key("vpn/psk"));
        let keys = |psk: &str| -> Keys {
            [("vpn/key", A), ("vpn/psk", psk)].map(|(of, text)| (name(of), Ok(SecretValue::new(text.into())))).into()
        };
        let live = format!("[Interface]\nListenPort = 9\nFwMark = 0x3\nPrivateKey = {B}\n");
        let (text, lost) = conf(&wanted, &live, &keys(&format!("{C}\n"))).unwrap();
        assert_eq!(
            std::str::from_utf8(text.reveal()).unwrap(),
            format!(
                "[Interface]\nPrivateKey = {A}\nListenPort = 9\nFwMark = 0x3\n\n[Peer]\nPublicKey = {B}\n\
                 PresharedKey = {C}\nAllowedIPs = 10.0.0.0/8\nEndpoint = 192.0.2.1:1\nPersistentKeepalive = 25\n"
            )
        );
        assert!(!lost);
        let fault = conf(&wanted, &live, &keys("hunter2")).err().unwrap();
        assert!(fault.message.contains("vpn/psk") && !fault.message.contains("hunter2"), "{fault:?}");
    }

    #[test]
    fn keys_that_nobody_knows_stay_as_they_are_and_that_is_said() {
        let wanted = seen(&format!("{A}\t{B}\t7\toff\n{B}\t{C}\t(none)\t10.0.0.0/8\t0\t0\t0\toff\n"));
        let live = format!("[Interface]\nPrivateKey = {C}\n\n[Peer]\nPublicKey = {B}\nPresharedKey = {A}\n");
        let (text, lost) = conf(&wanted, &live, &Keys::new()).unwrap();
        let text = std::str::from_utf8(text.reveal()).unwrap();
        assert!(text.contains(&format!("PrivateKey = {C}")) && text.contains(&format!("PresharedKey = {A}")), "{text}");
        assert!(lost);
    }
}
