//! What an account's connection must have.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::effect::Effect;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::statement::Execute;

/// Encryption, or properties of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Require {
    /// One word for it.
    Word(Word),
    /// A certificate that says this.
    Certificate(Certificate),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    /// Nothing.
    None,
    /// Encryption.
    Ssl,
    /// Any certificate that the server trusts.
    X509,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    /// Who issued it: `/CN=The authority`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// Whose it is: `/CN=app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The cipher of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cipher: Option<String>,
}

impl<'de> Deserialize<'de> for Require {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        match Json::deserialize(deserializer)? {
            word @ Json::String(_) => serde_json::from_value(word).map(Self::Word).map_err(D::Error::custom),
            other => {
                let certificate: Certificate = serde_json::from_value(other).map_err(D::Error::custom)?;
                if certificate.all().iter().all(|(_, text)| text.is_empty()) {
                    return Err(D::Error::custom("`issuer`, `subject` or `cipher` says what the certificate must be"));
                }
                Ok(Self::Certificate(certificate))
            }
        }
    }
}

impl Certificate {
    fn all(&self) -> [(&'static str, &str); 3] {
        [("SUBJECT", &self.subject), ("ISSUER", &self.issuer), ("CIPHER", &self.cipher)]
            .map(|(word, text)| (word, text.as_deref().unwrap_or_default()))
    }
}

impl Require {
    /// What the server keeps: a number, and three texts.
    pub(super) fn of(kept: &Map<String, Json>) -> Self {
        let text = |key: &str| kept.get(key).and_then(Json::as_str).map(str::to_owned).or_else(|| Some(String::new()));
        match kept.get("ssl_type").and_then(Json::as_u64) {
            Some(1) => Self::Word(Word::Ssl),
            Some(2) => Self::Word(Word::X509),
            Some(3) => Self::Certificate(Certificate {
                issuer: text("x509_issuer"),
                subject: text("x509_subject"),
                cipher: text("ssl_cipher"),
            }),
            _ => Self::Word(Word::None),
        }
    }

    /// Says of each property of a certificate that it may be anything, where nothing is said:
    /// the statement says all of them, too.
    pub(super) fn fill(&mut self) {
        if let Self::Certificate(Certificate { issuer, subject, cipher }) = self {
            for text in [issuer, subject, cipher] {
                text.get_or_insert_default();
            }
        }
    }

    /// As a person would write it; nothing where nothing is required.
    pub(super) fn said(&self) -> Option<Json> {
        match self {
            Self::Word(Word::None) => None,
            Self::Word(word) => Some(json!(word)),
            Self::Certificate(Certificate { issuer, subject, cipher }) => {
                let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
                Some(json!(Certificate { issuer: some(issuer), subject: some(subject), cipher: some(cipher) }))
            }
        }
    }

    /// The words for it.
    pub(super) fn say(&self, statement: Effect<Execute>) -> Effect<Execute> {
        let certificate = match self {
            Self::Word(Word::None) => return statement.text("REQUIRE NONE"),
            Self::Word(Word::Ssl) => return statement.text("REQUIRE SSL"),
            Self::Word(Word::X509) => return statement.text("REQUIRE X509"),
            Self::Certificate(certificate) => certificate,
        };
        let said = certificate.all().into_iter().filter(|(_, text)| !text.is_empty());
        said.enumerate().fold(statement, |statement, (at, (word, text))| {
            let before = if at == 0 { "REQUIRE" } else { "AND" };
            statement.text(&format!("{before} {word}")).literal(text)
        })
    }
}
