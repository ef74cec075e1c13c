//! `[[gate]]`, `[groups]` and `[people]`: what the operator asks for before effects are
//! performed, and who may say yes.

use serde::{Deserialize, Serialize};

use crate::stack::Budget;

/// `[[gate]]`: every rule that matches a lane counts, and beside Git's own words the
/// strictest wins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateDecl {
    /// Globs of stack directories. Default all.
    pub stacks: Texts,
    /// Names or globs of targets. Default all.
    pub targets: Texts,
    /// When effects may be performed, such as `Sun 02:00-04:00 Europe/Berlin`; in one of
    /// them where there are several. Default always.
    pub window: Texts,
    /// How many people have to approve, the commit's author not among them. Default 1
    /// where `approvers` are named, else 0.
    pub approvals: Option<u32>,
    /// Whose approval counts: names of users, or `@group`. Default anybody's.
    pub approvers: Vec<String>,
    /// What one plan may do without more being said.
    pub budget: Budget,
}

impl GateDecl {
    /// How many people have to approve.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.approvals.map_or(usize::from(!self.approvers.is_empty()), |wanted| wanted as usize)
    }
}

/// One text or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Texts(pub Vec<String>);

// By hand: a derived untagged enum loses the reason and the place of an error.
impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Texts;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Texts(vec![text.to_owned()]))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(Texts)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
