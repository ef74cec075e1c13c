//! `network.address`: an address of a link.

use serde::{Deserialize, Serialize};
use tidelock_sdk::effect::network::{put_address, remove_object};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Proposals, Step, Subject};

use crate::kept::{self, Persist};
use crate::spelling::{network, prefix, reaches, split};
use crate::{link, see};

/// What a `network.address` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressSpec {
    /// The link.
    pub(crate) link: String,
    /// The address and the length of its network: `10.0.0.1/24`, `2001:db8::1/64`.
    pub(crate) address: String,
    /// `false`: not kept for the next start of the system, though the target's network is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) persist: Option<Persist>,
}

/// `network.address`.
pub struct Address;

impl Kind for Address {
    type Spec = AddressSpec;
    const NAME: &'static str = "address";
    const DOC: &'static str = "An IPv4 or IPv6 address of a link. Other addresses of the link are left alone.";

    fn fields() -> Vec<Field> {
        vec![Field::new("/link").immutable(), Field::new("/address").immutable()]
    }

    fn identity(spec: &AddressSpec) -> String {
        let address = prefix(&spec.address, true).unwrap_or_else(|_| spec.address.clone());
        format!("address:{}/{address}", spec.link)
    }

    fn provides(spec: &AddressSpec) -> Vec<String> {
        let Ok((address, length)) = split(&spec.address) else { return Vec::new() };
        vec![reaches(network(address, length), length), format!("host:{address}")]
    }

    fn requires(spec: &AddressSpec) -> Vec<String> {
        vec![link::identity(&spec.link)]
    }

    fn check(spec: &AddressSpec) -> Vec<Diagnostic> {
        let address = &spec.address;
        let wrong = match split(address) {
            // A host's network is told by nothing else, and forgetting it is easy.
            Ok((_, most)) if !address.contains('/') => Some(format!(
                "{address} has no length: write {address}/{most} for itself alone, or that of its network"
            )),
            Ok((address, _)) if address.is_unspecified() => Some(format!("{address} is nobody's address")),
            split => split.err(),
        };
        wrong.map(|why| Diagnostic::error(why).at("/address")).into_iter().collect()
    }

    fn normalise(spec: AddressSpec, machine: &Machine<'_>) -> Result<AddressSpec, Error> {
        let address = prefix(&spec.address, true).map_err(|why| crate::spelling::bad("/address", why))?;
        let spec = AddressSpec { address, ..spec };
        let persist = kept::normalise(spec.persist.clone(), machine, |keeper| keeper.address(&spec))?;
        Ok(AddressSpec { persist, ..spec })
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        see::objects(subjects, machine, &["link", "address"])
    }

    fn steps(change: &Change<AddressSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        match change.action {
            _ if !kept::live_differs(change) => {}
            Action::Delete => propose.add(remove_object(&change.identity))?,
            _ => propose.add(put_address(&AddressSpec { persist: None, ..change.wanted()?.clone() }))?,
        }
        let persist = change.desired.as_ref().and_then(|spec| spec.persist.as_ref());
        kept::steps(change, persist, None, machine, propose)?;
        Ok(Step::Proposed)
    }
}
