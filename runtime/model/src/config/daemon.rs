//! `[daemon]`: how `tidelock run` runs.

use serde::{Deserialize, Serialize};

/// `[daemon]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DaemonDecl {
    /// The unix socket through which commands reach it; default `tidelock.sock` beside the store.
    pub socket: Option<String>,
    /// Passes that may be under way at once. Default 8.
    pub lanes_at_once: Option<u16>,
    /// How long a pass may take before it begins to write, such as `10m`, which is the default.
    pub deadline: Option<String>,
    /// Directories of targets that are watched at most, so that drift is found at once and not
    /// at the next look. Default 8192; 0 watches none.
    pub watches: Option<u32>,
}
