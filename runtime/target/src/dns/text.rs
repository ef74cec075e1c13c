//! Records as texts of zone files, in one spelling: what two servers hold alike reads alike.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, RecordType as WireType};
use tidelock_model::dns::{RecordType, Rrset, absolute, labels, spelled};
use tidelock_model::error::Fault;

use super::fault;

/// Values of one set. Together with their length it keeps a set within one message.
const MAX_VALUES: usize = 1_000;
/// What the values of one set may take, in bytes: half of the largest message (RFC 1035, 4.2.2).
const MAX_BYTES: usize = 32 << 10;
/// The longest time to live, in seconds (RFC 2181, 8).
const MAX_TTL: u32 = 0x7fff_ffff;
/// What one string of a TXT record holds, in bytes (RFC 1035, 3.3).
const CHUNK: usize = 255;

/// A set in its one spelling. Pure.
///
/// # Errors
/// A value that is none of its type, with the field.
pub(super) fn normalise(set: Rrset) -> Result<Rrset, Fault> {
    let wrong = |field: &str, why: String| fault("invalid", why).at(field.to_owned());
    set.called().map_err(|why| wrong("/name", why))?;
    if set.ttl > MAX_TTL {
        return Err(wrong("/ttl", format!("{} s is longer than a record may be kept; the most is {MAX_TTL}", set.ttl)));
    }
    let mut values = BTreeSet::new();
    for (i, value) in set.values.iter().enumerate() {
        let data = read(set.kind, value).map_err(|why| wrong(&format!("/values/{i}"), why))?;
        let text = write(&data).map(|(_, text)| text);
        values.insert(text.ok_or_else(|| wrong(&format!("/values/{i}"), format!("{value:?} cannot be spelled")))?);
    }
    if values.is_empty() {
        return Err(wrong("/values", "a set without a value is none; take the resource out instead".to_owned()));
    }
    if set.kind == RecordType::Cname && values.len() > 1 {
        return Err(wrong("/values", "a name is an alias for one other alone: a CNAME has one value".to_owned()));
    }
    if values.len() > MAX_VALUES || values.iter().map(String::len).sum::<usize>() > MAX_BYTES {
        return Err(wrong("/values", format!("more than {MAX_VALUES} values or {MAX_BYTES} bytes in one set")));
    }
    Ok(Rrset { values: values.into_iter().collect(), ..set })
}

/// A value as it is sent.
///
/// # Errors
/// It is none of its type; a sentence.
pub(super) fn read(kind: RecordType, text: &str) -> Result<RData, String> {
    let example = match kind {
        RecordType::A => "192.0.2.1",
        RecordType::Aaaa => "2001:db8::1",
        RecordType::Caa => "0 issue \"ca.example\"",
        RecordType::Cname | RecordType::Ns | RecordType::Ptr => "host.example.com.",
        RecordType::Mx => "10 mail.example.com.",
        RecordType::Srv => "0 5 5060 sip.example.com.",
        RecordType::Txt => "v=spf1 -all",
    };
    let not = || format!("{text:?} is no value of {kind}, such as {example}");
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| word.parse::<u16>().map_err(|_| not());
    Ok(match (kind, &words[..]) {
        (RecordType::A, [address]) => RData::A(A(address.parse::<Ipv4Addr>().map_err(|_| not())?)),
        (RecordType::Aaaa, [address]) => RData::AAAA(AAAA(address.parse::<Ipv6Addr>().map_err(|_| not())?)),
        (RecordType::Cname, [to]) => RData::CNAME(CNAME(goal(to)?)),
        (RecordType::Ns, [to]) => RData::NS(NS(goal(to)?)),
        (RecordType::Ptr, [to]) => RData::PTR(PTR(goal(to)?)),
        (RecordType::Mx, [preference, to]) => RData::MX(MX::new(number(preference)?, goal(to)?)),
        (RecordType::Srv, [priority, weight, port, to]) => {
            RData::SRV(SRV::new(number(priority)?, number(weight)?, number(port)?, goal(to)?))
        }
        (RecordType::Txt, _) => {
            let chunks = chunks(text)?;
            RData::TXT(TXT::from_bytes(chunks.iter().map(Vec::as_slice).collect()))
        }
        (RecordType::Caa, [flags, tag, ..]) => {
            let flags = flags.parse::<u8>().map_err(|_| not())?;
            let tag = tag.to_ascii_lowercase();
            if tag.is_empty() || tag.len() > CHUNK || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(not());
            }
            let value = text.trim_start().splitn(3, char::is_whitespace).nth(2).unwrap_or_default().trim();
            let value = if value.starts_with('"') { chunks_quoted(value)?.concat() } else { value.as_bytes().to_vec() };
            let mut bytes = vec![flags, u8::try_from(tag.len()).unwrap_or(u8::MAX)];
            bytes.extend(tag.as_bytes());
            bytes.extend(value);
            RData::Unknown { code: WireType::CAA, rdata: NULL::with(bytes) }
        }
        _ => return Err(not()),
    })
}

/// A record as text; `None` for types that cannot be managed, and what cannot be read.
pub(super) fn write(data: &RData) -> Option<(RecordType, String)> {
    Some(match data {
        RData::A(address) => (RecordType::A, address.0.to_string()),
        RData::AAAA(address) => (RecordType::Aaaa, address.0.to_string()),
        RData::CNAME(to) => (RecordType::Cname, named(&to.0)),
        RData::NS(to) => (RecordType::Ns, named(&to.0)),
        RData::PTR(to) => (RecordType::Ptr, named(&to.0)),
        RData::MX(mx) => (RecordType::Mx, format!("{} {}", mx.preference, named(&mx.exchange))),
        RData::SRV(srv) => {
            (RecordType::Srv, format!("{} {} {} {}", srv.priority, srv.weight, srv.port, named(&srv.target)))
        }
        RData::TXT(txt) => {
            (RecordType::Txt, txt.txt_data.iter().map(|chunk| quoted(chunk)).collect::<Vec<_>>().join(" "))
        }
        RData::CAA(caa) => {
            let flags = u8::from(caa.issuer_critical) << 7 | (caa.reserved_flags & 0x7f);
            (RecordType::Caa, format!("{flags} {} {}", caa.tag.to_ascii_lowercase(), quoted(&caa.value)))
        }
        RData::Unknown { code: WireType::CAA, rdata } => {
            let [flags, length, rest @ ..] = &rdata.anything[..] else { return None };
            let (tag, value) = rest.split_at_checked(usize::from(*length))?;
            (RecordType::Caa, format!("{flags} {} {}", std::str::from_utf8(tag).ok()?, quoted(value)))
        }
        _ => return None,
    })
}

/// A name that a record leads to. A single word could be meant within the zone, and is none.
fn goal(text: &str) -> Result<Name, String> {
    if !text.contains('.') {
        return Err(format!(
            "{text:?} may be meant within the zone or as it stands; write it in full, with a dot at the end"
        ));
    }
    host(text)
}

/// A name as it is sent.
///
/// # Errors
/// It is none; a sentence.
pub(super) fn host(text: &str) -> Result<Name, String> {
    Name::from_labels(labels(text)?).map_err(|error| format!("{text:?} is no name: {error}"))
}

/// A name in its one spelling.
pub(super) fn named(name: &Name) -> String {
    spelled(name.iter())
}

/// Whether a name is another one, both in any spelling.
pub(super) fn is(name: &Name, other: &str) -> bool {
    absolute(other).is_ok_and(|other| named(name) == other)
}

/// The type as it is sent.
pub(super) fn wire(kind: RecordType) -> WireType {
    match kind {
        RecordType::A => WireType::A,
        RecordType::Aaaa => WireType::AAAA,
        RecordType::Caa => WireType::CAA,
        RecordType::Cname => WireType::CNAME,
        RecordType::Mx => WireType::MX,
        RecordType::Ns => WireType::NS,
        RecordType::Ptr => WireType::PTR,
        RecordType::Srv => WireType::SRV,
        RecordType::Txt => WireType::TXT,
    }
}

/// The strings of a TXT record: quoted as in zone files, or a plain text, which is cut where a
/// string is full.
fn chunks(text: &str) -> Result<Vec<Vec<u8>>, String> {
    if text.trim_start().starts_with('"') {
        return chunks_quoted(text);
    }
    if text.is_empty() {
        return Ok(vec![vec![]]);
    }
    Ok(text.as_bytes().chunks(CHUNK).map(<[u8]>::to_vec).collect())
}

/// `"one" "two"`, with `\"`, `\\` and `\DDD`.
fn chunks_quoted(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let bad = |why: &str| format!("{text:?}: {why}");
    let mut chunks = Vec::new();
    let mut bytes = text.trim().bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => continue,
            b'"' => {}
            _ => return Err(bad("each string of it stands in quotes")),
        }
        let mut chunk = Vec::new();
        loop {
            match bytes.next() {
                None => return Err(bad("a quote is not closed")),
                Some(b'"') => break,
                Some(b'\\') => {
                    let first = bytes.next().ok_or_else(|| bad("a quote is not closed"))?;
                    if !first.is_ascii_digit() {
                        chunk.push(first);
                        continue;
                    }
                    let digits = [Some(first), bytes.next(), bytes.next()].map(|digit| digit.unwrap_or(b'x'));
                    let number = std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
                    chunk.push(number.ok_or_else(|| bad("a backslash before digits takes three, up to 255"))?);
                }
                Some(byte) => chunk.push(byte),
            }
        }
        if chunk.len() > CHUNK {
            return Err(bad("a string of it is longer than 255 bytes"));
        }
        chunks.push(chunk);
    }
    Ok(chunks)
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            other => out.push_str(&format!("\\{other:03}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;
    use hickory_proto::serialize::binary::{BinDecodable as _, BinEncodable as _};

    use super::*;

    fn spelled_as(kind: RecordType, text: &str) -> Result<String, String> {
        let data = read(kind, text)?;
        // The way over the wire must not change it.
        let record = Record::from_rdata(host("a.example.")?, 60, data.clone());
        let back = Record::from_bytes(&record.to_bytes().unwrap()).unwrap();
        assert_eq!(write(&back.data), write(&data), "{text}");
        let (found, text) = write(&data).ok_or("not written")?;
        assert_eq!(found, kind);
        assert_eq!(read(kind, &text).map(|data| write(&data)), Ok(Some((kind, text.clone()))), "its own spelling");
        Ok(text)
    }

    #[test]
    fn values_have_one_spelling() {
        let long = "x".repeat(300);
        let cut = format!("\"{}\" \"{}\"", "x".repeat(255), "x".repeat(45));
        for (kind, text, spelling) in [
            (RecordType::A, "192.0.2.1", "192.0.2.1"),
            (RecordType::Aaaa, "2001:DB8:0:0::0001", "2001:db8::1"),
            (RecordType::Aaaa, "::ffff:192.0.2.1", "::ffff:192.0.2.1"),
            (RecordType::Cname, "WWW.Example.com", "www.example.com."),
            (RecordType::Ns, "ns1.example.com.", "ns1.example.com."),
            (RecordType::Ptr, "host.example.com", "host.example.com."),
            (RecordType::Mx, "010  Mail.example.com", "10 mail.example.com."),
            (RecordType::Mx, "0 .", "0 ."),
            (RecordType::Srv, "0 5 5060 sip.example.com", "0 5 5060 sip.example.com."),
            (RecordType::Txt, "v=spf1 -all", "\"v=spf1 -all\""),
            (RecordType::Txt, "", "\"\""),
            (RecordType::Txt, "\"a\"   \"b\"", "\"a\" \"b\""),
            (RecordType::Txt, "a \"quote\" \\", "\"a \\\"quote\\\" \\\\\""),
            (RecordType::Txt, "ü", "\"\\195\\188\""),
            (RecordType::Txt, &long, &cut),
            (RecordType::Caa, "0 issue \"ca.example\"", "0 issue \"ca.example\""),
            (RecordType::Caa, "128 ISSUE ca.example; account=1", "128 issue \"ca.example; account=1\""),
            (RecordType::Caa, "0 issue \";\"", "0 issue \";\""),
        ] {
            assert_eq!(spelled_as(kind, text).as_deref(), Ok(spelling), "{kind} {text}");
        }
    }

    #[test]
    fn what_is_no_value_of_its_type_is_refused() {
        let long = format!("\"{}\"", "x".repeat(256));
        for (kind, text) in [
            (RecordType::A, "192.0.2.256"),
            (RecordType::A, "2001:db8::1"),
            (RecordType::A, "192.0.2.1 192.0.2.2"),
            (RecordType::Aaaa, "192.0.2.1"),
            (RecordType::Cname, "a b"),
            (RecordType::Cname, ""),
            (RecordType::Cname, "web"),
            (RecordType::Mx, "10 mail"),
            (RecordType::Mx, "mail.example.com"),
            (RecordType::Mx, "70000 mail.example.com"),
            (RecordType::Srv, "0 5 sip.example.com"),
            (RecordType::Txt, "\"open"),
            (RecordType::Txt, "\"a\" b"),
            (RecordType::Txt, "\"\\999\""),
            (RecordType::Txt, &long),
            (RecordType::Caa, "0 issue-x \"a\""),
            (RecordType::Caa, "256 issue \"a\""),
            (RecordType::Caa, "issue"),
        ] {
            assert!(read(kind, text).is_err(), "{kind} {text}");
        }
    }

    #[test]
    fn a_set_is_sorted_without_doubles_and_knows_its_bounds() {
        let set = |kind, values: &[&str]| Rrset {
            zone: "example.com.".into(),
            name: "www.example.com.".into(),
            kind,
            ttl: 60,
            values: values.iter().map(ToString::to_string).collect(),
        };
        let normal = normalise(set(RecordType::Aaaa, &["2001:db8::2", "2001:DB8::1", "2001:db8:0::1"])).unwrap();
        assert_eq!(normal.values, ["2001:db8::1", "2001:db8::2"]);
        for (set, field) in [
            (set(RecordType::A, &[]), "/values"),
            (set(RecordType::A, &["192.0.2.1", "x"]), "/values/1"),
            (set(RecordType::Cname, &["a.example.", "b.example."]), "/values"),
            (Rrset { ttl: u32::MAX, ..set(RecordType::A, &["192.0.2.1"]) }, "/ttl"),
            (Rrset { name: "www.example.org.".into(), ..set(RecordType::A, &["192.0.2.1"]) }, "/name"),
            (Rrset { values: vec!["x".repeat(60_000)], ..set(RecordType::Txt, &[]) }, "/values"),
        ] {
            assert_eq!(normalise(set.clone()).unwrap_err().field.as_deref(), Some(field), "{set:?}");
        }
    }
}
