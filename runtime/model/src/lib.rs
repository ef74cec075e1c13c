//! The nouns of Tidelock and the ports through which its rooms meet.
//!
//! Everything above and below this crate speaks in its words: a [`Revision`] is
//! rendered to [`Resource`]s for a [`Lane`], compared with what was observed, and
//! becomes a [`Plan`] of [`Change`]s and [`Effect`]s.
//!
//! **Invariant.** No IO, no clock, no randomness, no environment, no async
//! runtime. Values here can be made, compared, printed and stored anywhere.
//!
//! [`Revision`]: revision::Revision
//! [`Resource`]: resource::Resource
//! [`Lane`]: name::Lane
//! [`Plan`]: plan::Plan
//! [`Change`]: plan::Change
//! [`Effect`]: effect::Effect

mod canonical;
pub mod check;
pub mod config;
pub mod desired;
pub mod digest;
pub mod dns;
pub mod effect;
pub mod error;
pub mod event;
pub mod grant;
pub mod hold;
pub mod inventory;
pub mod kind;
pub mod limits;
pub mod name;
pub mod network;
pub mod observation;
pub mod plan;
pub mod plugin;
pub mod pointer;
pub mod port;
pub mod reads;
pub mod resource;
pub mod revision;
pub mod run;
pub mod secret;
pub mod snippet;
pub mod sql;
pub mod stack;
pub mod window;
