//! What a daemon takes at its start or when it is first needed: files and variables that hold
//! secrets, and the address that it listens at. Values are read and dropped.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tidelock_model::config::{AuthDecl, OneOrMany, SecretDecl};
use tidelock_model::port::SourceError;
use tidelock_secret::private;

use super::Report;
use crate::config::Loaded;
use crate::error::{CliError, Kind};

/// The longest value that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// Looks at all of them.
pub(super) fn check(report: &mut Report, loaded: &Loaded) {
    for (name, secret) in &loaded.config.secrets {
        declared(report, name.as_str(), secret);
    }
    for (name, source) in &loaded.config.sources {
        let mut read = |table: &str, env: Option<&String>, file: Option<&String>, what: &str| {
            let given = tidelock_source::secret(env.map(String::as_str), file.map(String::as_str), what, loaded.dir());
            if let Err(SourceError { message, hint, .. }) = given {
                let error = CliError::new(Kind::Config, format!("[sources.{name}.{table}]: {message}"));
                report.fail("secret", hint.into_iter().fold(error, CliError::hint));
            }
        };
        if let Some(webhook) = &source.webhook {
            read("webhook", webhook.secret_env.as_ref(), webhook.secret_file.as_ref(), "secret");
        }
        for (table, auth) in [("auth", &source.auth), ("proxy_auth", &source.proxy_auth)] {
            let Some(AuthDecl { password_env, password_file, token_env, token_file, .. }) = auth else { continue };
            read(table, password_env.as_ref(), password_file.as_ref(), "password");
            read(table, token_env.as_ref(), token_file.as_ref(), "token");
        }
        for key in source.decrypt.iter().flat_map(OneOrMany::iter).filter_map(|key| key.age.as_ref()) {
            private_file(report, &format!("[sources.{name}.decrypt]"), key);
        }
    }
    listens(report, loaded);
}

fn declared(report: &mut Report, name: &str, secret: &SecretDecl) {
    let table = format!("[secrets.{name}]");
    if let Some(file) = &secret.file {
        private_file(report, &table, file);
    }
    if let Some(variable) = secret.env.as_ref().filter(|variable| std::env::var_os(variable).is_none()) {
        let says = format!("{table}: {variable} is not set in this environment");
        report.warn("secret", says, format!("export {variable} where `tidelock run` is started"));
    }
    if let Some(program) = secret.command.as_ref().and_then(|argv| argv.first()).filter(|it| !Path::new(it).is_file()) {
        let error = CliError::new(Kind::Config, format!("{table}: there is no program {program}"));
        report.fail("secret", error.hint("name one that is there, by its absolute path"));
    }
}

fn private_file(report: &mut Report, table: &str, file: &str) {
    if let Err(refused) = private::read(Path::new(file), LONGEST) {
        let error = CliError::new(Kind::Config, format!("{table}: {refused}"));
        report.fail("secret", error.hint(refused.hint()));
    }
}

/// Whether the daemon could listen where it is told to, or does so now.
fn listens(report: &mut Report, loaded: &Loaded) {
    let Some(at) = loaded.http() else { return };
    match TcpListener::bind(at) {
        Ok(_) => report.ok("http", format!("{at} is free to listen at")),
        Err(_) if UnixStream::connect(loaded.socket()).is_ok() => {
            report.ok("http", format!("{at} is taken, and a daemon runs"));
        }
        Err(error) => {
            let error = CliError::new(Kind::Config, format!("[http]: nobody can listen at {at}: {error}"));
            report.fail(
                "http",
                error.hint("name an address of this machine and a free port: listen = \"127.0.0.1:9477\""),
            );
        }
    }
}
