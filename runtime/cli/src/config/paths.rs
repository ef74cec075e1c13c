//! Relative paths of a config file start at that file: made absolute once, here.

use std::path::Path;

use tidelock_model::config::{Config, OneOrMany};

/// What a store's URL starts with.
pub(super) const SQLITE: &str = "sqlite:";

/// Makes every path absolute. URLs stay as they are.
pub(super) fn make_absolute(config: &mut Config, dir: &Path) {
    let root = |path: &mut String| *path = dir.join(&*path).to_string_lossy().into_owned();
    let maybe = |path: &mut Option<String>| path.as_mut().map_or((), root);
    if let Some(path) = config.store.url.strip_prefix(SQLITE) {
        config.store.url = format!("{SQLITE}{}", dir.join(path).to_string_lossy());
    }
    maybe(&mut config.store.cache);
    maybe(&mut config.plugins.dir);
    maybe(&mut config.daemon.socket);
    for source in config.sources.values_mut() {
        if is_path(&source.url) {
            root(&mut source.url);
        }
        maybe(&mut source.ca);
        source.decrypt.iter_mut().flat_map(OneOrMany::iter_mut).for_each(|decrypt| maybe(&mut decrypt.age));
        if let Some(verify) = &mut source.verify {
            root(&mut verify.signers);
        }
        if let Some(ssh) = &mut source.ssh {
            root(&mut ssh.key);
            root(&mut ssh.known_hosts);
        }
        for auth in [&mut source.auth, &mut source.proxy_auth].into_iter().flatten() {
            maybe(&mut auth.password_file);
            maybe(&mut auth.token_file);
        }
        if let Some(webhook) = &mut source.webhook {
            maybe(&mut webhook.secret_file);
        }
    }
    for secret in config.secrets.values_mut() {
        maybe(&mut secret.file);
    }
    for target in config.targets.values_mut() {
        maybe(&mut target.root);
        maybe(&mut target.file);
        target.each_path(root);
    }
}

/// Whether a source's URL is a path: no scheme, and not `host:path`.
pub(super) fn is_path(url: &str) -> bool {
    let first = url.split('/').next().unwrap_or("");
    !url.contains("://") && !first.contains(':')
}
