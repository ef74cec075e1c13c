//! The ports: what the loop needs of the outside world. Adapters live in
//! `source`, `host`, `target` and `store`; fakes in tests. One file for each room.

mod ambient;
mod check;
mod plugin;
mod secrets;
mod source;
mod store;
mod target;
mod watch;

pub use ambient::{Clock, Listener};
pub use check::Checker;
pub use plugin::{
    Declared, Found, PluginError, Plugins, Provider, RenderInputs, Rendered, Renderer, StepAnswer, StepRequest,
};
pub use secrets::Secrets;
pub use source::{Fetched, Source, SourceError, Tree, TreeEntry, Want};
pub use store::{Filter, Holder, KnownModule, LaneRecord, LaneStanding, Lease, Settled, Store, StoreError};
pub use target::{Blobs, Guard, GuardState, Guarded, Guards, Target, Targets, Until};
pub use watch::Watch;
