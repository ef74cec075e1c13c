//! `[http]`: what a running daemon shows over HTTP.

use serde::{Deserialize, Serialize};

/// `[http]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpDecl {
    /// Address and port to listen on, such as `127.0.0.1:9477`. Without it nothing listens.
    pub listen: Option<String>,
}
