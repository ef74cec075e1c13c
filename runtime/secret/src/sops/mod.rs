//! Files that SOPS wrote: every value is encrypted by itself, with the keys that lead to it as
//! what it belongs to; one data key opens them all, and is encrypted to each recipient.
//!
//! **Invariant.** No value is given out before the whole file is proven to be as SOPS wrote it:
//! each value at its keys, and all of them in their order by the file's own MAC. So whoever may
//! commit and cannot decrypt moves no value to other keys, and puts back no old one. What SOPS
//! does not prove is not given out: a place in a list, and what stands in the clear.

mod document;
mod tree;

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::aes::Aes256;
use aes_gcm::{AeadInPlace as _, AesGcm, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use sha2::{Digest as _, Sha512};
use tidelock_model::error::tame;
use zeroize::Zeroizing;

pub(crate) use self::document::Format;
use self::document::{Document, Metadata};
use self::tree::{Node, member};

/// AES-256 in Galois/Counter Mode with nonces as long as SOPS makes them, in bytes.
type Cipher = AesGcm<Aes256, U32>;

/// The largest file, in bytes: all of it is decrypted for one value.
const MAX_FILE: usize = 4 << 20;
/// What keys of values in the clear end in, where a file names no rule of its own.
const IN_THE_CLEAR: &str = "_unencrypted";
/// What the MAC begins with where it is about encrypted values alone: SHA-256 of `sops`.
const OF_ENCRYPTED_ALONE: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Why a value is not given out. Holds nothing of any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    pub(crate) hint: Option<String>,
}

impl Refusal {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Opens what age encrypted: `None` where it is for somebody else's key.
pub(crate) trait Opener {
    /// How what is wrong is told.
    type Error;

    /// Tells why a value is not given out.
    fn refused(&self, refusal: Refusal) -> Self::Error;

    /// Opens the armoured text of one recipient.
    fn open(&self, encrypted: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Self::Error>;
}

/// Reads a whole file that SOPS put into JSON; `None` where it is none.
///
/// # Errors
/// As [`value`].
pub(crate) fn whole<O: Opener>(bytes: &[u8], opener: &O) -> Result<Option<Zeroizing<Vec<u8>>>, O::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= MAX_FILE && document::is_whole(text) => {
            value(bytes, Format::Json, "/data", opener).map(Some)
        }
        _ => Ok(None),
    }
}

/// Reads the value that a JSON pointer names, once all of the file is proven.
///
/// # Errors
/// It is no file of SOPS, is for others, was changed since SOPS wrote it, or has no such text.
pub(crate) fn value<O: Opener>(
    bytes: &[u8],
    format: Format,
    pointer: &str,
    opener: &O,
) -> Result<Zeroizing<Vec<u8>>, O::Error> {
    let document = parsed(bytes, format).map_err(|refusal| opener.refused(refusal))?;
    let key = data_key(&document.metadata, opener)?;
    proven(&document, &key, pointer).map_err(|refusal| opener.refused(refusal))
}

fn parsed(bytes: &[u8], format: Format) -> Result<Document, Refusal> {
    if bytes.len() > MAX_FILE {
        let why = format!("the file has {} bytes; {MAX_FILE} are read", bytes.len());
        return Err(Refusal::new(why).hint("split it into several files"));
    }
    document::read(std::str::from_utf8(bytes).map_err(|_| Refusal::new("the file is no text"))?, format)
}

/// The key of the file, by the first recipient that is us.
fn data_key<O: Opener>(metadata: &Metadata, opener: &O) -> Result<Cipher, O::Error> {
    for recipient in &metadata.age {
        let Some(key) = opener.open(recipient.as_bytes())? else { continue };
        return Cipher::new_from_slice(&key)
            .map_err(|_| opener.refused(Refusal::new(format!("its data key has {} bytes, not 32", key.len()))));
    }
    let why = match metadata.age.len() {
        0 => "it is encrypted to no age recipient",
        _ => "it is encrypted to none of our keys",
    };
    Err(opener.refused(Refusal::new(why).hint("add this operator's public key: sops rotate -i --add-age age1... FILE")))
}

/// Decrypts all of the file, compares with its MAC, and gives out one value.
fn proven(document: &Document, key: &Cipher, pointer: &str) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let Document { root, metadata } = document;
    let mut walk = Walk {
        key,
        rule: Rule::of(metadata)?,
        encrypted_alone: metadata.mac_only_encrypted,
        mac: Sha512::new(),
        wanted: member(root, pointer)?,
        found: None,
    };
    if metadata.mac_only_encrypted {
        walk.mac.update(OF_ENCRYPTED_ALONE);
    }
    walk.node(root, &mut Vec::new())?;
    let kept = decrypted(key, &metadata.mac, &metadata.last_modified)
        .ok_or_else(|| changed("its MAC does not belong to it"))?;
    if hex::encode_upper(walk.mac.finalize()).as_bytes() != kept.text.as_slice() {
        return Err(changed("its values are not those that its MAC was made of"));
    }
    let clear = || Refusal::new("the value is not encrypted: whoever reads the repository knows it");
    let found = walk.found.ok_or_else(clear)?;
    if matches!(found.kind, "str" | "bytes") {
        return Ok(found.text);
    }
    let why = format!("it is of type {}, whose spelling SOPS does not keep", tame(found.kind, 20));
    Err(Refusal::new(why).hint("put the value in quotes: sops edit"))
}

fn changed(why: &str) -> Refusal {
    Refusal::new(format!("the file was changed by something else than SOPS: {why}"))
        .hint("change it with `sops edit`, or take the last good version from Git")
}

/// Which values a file keeps in the clear, told by any key on the way to them.
enum Rule {
    ClearSuffix(String),
    EncryptedSuffix(String),
    ClearKeys(Regex),
    EncryptedKeys(Regex),
}

impl Rule {
    fn of(metadata: &Metadata) -> Result<Self, Refusal> {
        let regex = |text: &str| {
            Regex::new(text).map_err(|_| Refusal::new(format!("{text:?} of its metadata is no regular expression")))
        };
        if let Some(other) = &metadata.other_rule {
            return Err(Refusal::new(format!("its {other} is not served by this version"))
                .hint("let keys say what is encrypted: encrypted_regex or unencrypted_suffix"));
        }
        let rules = [
            &metadata.unencrypted_suffix,
            &metadata.encrypted_suffix,
            &metadata.unencrypted_regex,
            &metadata.encrypted_regex,
        ];
        Ok(match rules.map(Option::as_deref) {
            [None, None, None, None] => Self::ClearSuffix(IN_THE_CLEAR.to_owned()),
            [Some(suffix), None, None, None] => Self::ClearSuffix(suffix.to_owned()),
            [None, Some(suffix), None, None] => Self::EncryptedSuffix(suffix.to_owned()),
            [None, None, Some(text), None] => Self::ClearKeys(regex(text)?),
            [None, None, None, Some(text)] => Self::EncryptedKeys(regex(text)?),
            _ => return Err(Refusal::new("its metadata has several rules of what is encrypted")),
        })
    }

    fn encrypts(&self, keys: &[&str]) -> bool {
        match self {
            Self::ClearSuffix(suffix) => !keys.iter().any(|key| key.ends_with(suffix.as_str())),
            Self::EncryptedSuffix(suffix) => keys.iter().any(|key| key.ends_with(suffix.as_str())),
            Self::ClearKeys(regex) => !keys.iter().any(|key| regex.is_match(key)),
            Self::EncryptedKeys(regex) => keys.iter().any(|key| regex.is_match(key)),
        }
    }
}

/// A way through all values of a file in their order.
struct Walk<'w> {
    key: &'w Cipher,
    rule: Rule,
    encrypted_alone: bool,
    mac: Sha512,
    wanted: &'w Node,
    found: Option<Opened<'w>>,
}

impl<'w> Walk<'w> {
    fn node(&mut self, node: &'w Node, keys: &mut Vec<&'w str>) -> Result<(), Refusal> {
        match node {
            Node::Map(members) => {
                for (key, value) in members {
                    keys.push(key);
                    self.node(value, keys)?;
                    keys.pop();
                }
            }
            // All of a list have the keys of the list.
            Node::List(items) => {
                for item in items {
                    self.node(item, keys)?;
                }
            }
            // Neither encrypted nor part of the MAC.
            Node::Null => {}
            Node::Text(text) | Node::Plain(text) if !self.rule.encrypts(keys) => {
                if !self.encrypted_alone {
                    self.mac.update(text);
                }
            }
            Node::Plain(_) => return Err(changed(&format!("{} is in the clear", keys.join("/")))),
            Node::Text(text) => self.encrypted(node, text, keys)?,
        }
        Ok(())
    }

    fn encrypted(&mut self, node: &Node, text: &'w str, keys: &[&str]) -> Result<(), Refusal> {
        // SOPS leaves an empty text as it is.
        if text.is_empty() {
            return Ok(());
        }
        let belongs_to = format!("{}:", keys.join(":"));
        let opened = decrypted(self.key, text, &belongs_to)
            .ok_or_else(|| changed(&format!("what stands at {} was not encrypted for there", keys.join("/"))))?;
        self.mac.update(opened.text.as_slice());
        if std::ptr::eq(node, self.wanted) {
            self.found = Some(opened);
        }
        Ok(())
    }
}

/// What was encrypted.
struct Opened<'t> {
    text: Zeroizing<Vec<u8>>,
    /// SOPS's word for its type.
    kind: &'t str,
}

/// Opens `ENC[AES256_GCM,data:..,iv:..,tag:..,type:..]`; `None` where it is no such text, or
/// belongs elsewhere.
fn decrypted<'t>(key: &Cipher, text: &'t str, belongs_to: &str) -> Option<Opened<'t>> {
    let parts = text.strip_prefix("ENC[AES256_GCM,data:")?.strip_suffix(']')?;
    let (data, parts) = parts.split_once(",iv:")?;
    let (iv, parts) = parts.split_once(",tag:")?;
    let (tag, kind) = parts.split_once(",type:")?;
    let mut text = Zeroizing::new(STANDARD.decode(data).ok()?);
    let (iv, tag) = (STANDARD.decode(iv).ok()?, STANDARD.decode(tag).ok()?);
    if iv.len() != 32 || tag.len() != 16 {
        return None;
    }
    let (iv, tag) = (GenericArray::from_slice(&iv), GenericArray::from_slice(&tag));
    key.decrypt_in_place_detached(iv, belongs_to.as_bytes(), &mut text, tag).ok()?;
    Some(Opened { text, kind })
}

#[cfg(test)]
mod tests;
