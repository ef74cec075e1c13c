//! The HTTP listener, where the config asks for one.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelock_model::config::WebhookDecl;
use tidelock_model::name::Name;
use tidelock_reconcile::Runtime;
use tidelock_reconcile::driver::Handle;
use tidelock_server::metrics::Metrics;
use tidelock_server::{Hook, Parts, Secret, Server};

use crate::config::Loaded;
use crate::error::{CliError, Kind};

/// Opens it.
pub(super) async fn open(
    loaded: &Loaded,
    runtime: &Runtime,
    handle: &Handle,
    metrics: Arc<Metrics>,
) -> Result<Option<Server>, CliError> {
    let Some(at) = loaded.http() else { return Ok(None) };
    let (store, folder) = (Arc::clone(&runtime.store), loaded.guards());
    let guards = Box::new(move || tidelock_target::guards_in(&folder));
    let parts = Parts { metrics, store, guards, handle: handle.clone(), sources: sources(loaded)? };
    let server = Server::open(at, parts).await.map_err(|error| {
        CliError::new(Kind::Io, format!("cannot listen on {at} for HTTP: {error}"))
            .hint("name another address or port that is free here:\n[http]\nlisten = \"127.0.0.1:9477\"")
    })?;
    tracing::info!("HTTP on {}", server.at());
    Ok(Some(server))
}

/// The sources of a config with their webhooks; none where nobody listens. A secret that cannot be read now is an
/// error now, not when the first webhook comes.
pub(super) fn sources(loaded: &Loaded) -> Result<BTreeMap<Name, Option<Hook>>, CliError> {
    let mut sources = BTreeMap::new();
    if loaded.http().is_none() {
        return Ok(sources);
    }
    for (name, decl) in &loaded.config.sources {
        let hook = match &decl.webhook {
            None => None,
            Some(webhook) => {
                let secret = secret(name, webhook, loaded)?;
                let open = loaded.http().is_some_and(|at| !at.ip().is_loopback());
                if open && secret.is_none() {
                    tracing::warn!(source = %name, "the webhook has no secret and refuses all, as strangers can reach it");
                }
                Some(Hook::of(decl, secret))
            }
        };
        sources.insert(name.clone(), hook);
    }
    Ok(sources)
}

fn secret(name: &Name, decl: &WebhookDecl, loaded: &Loaded) -> Result<Option<Secret>, CliError> {
    let (decl, dir) = (decl.clone(), loaded.dir().to_owned());
    let read = move || tidelock_source::secret(decl.secret_env.as_deref(), decl.secret_file.as_deref(), "secret", &dir);
    let given = read().map_err(|error| {
        let mut shown = CliError::new(Kind::Config, format!("[sources.{name}.webhook]: {}", error.message));
        if let Some(hint) = error.hint {
            shown = shown.hint(hint);
        }
        shown
    })?;
    let secret: Secret = Arc::new(move || match read() {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err("there is none".to_owned()),
        Err(error) => Err(error.message),
    });
    Ok(given.map(|_| secret))
}
