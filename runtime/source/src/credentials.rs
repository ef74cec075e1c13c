//! How a source signs in: values come from the environment or a file, never from the
//! config itself, and go over plain http only where the operator says so. A file is one
//! that others cannot read.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidelock_model::config::AuthDecl;
use tidelock_model::port::SourceError;
use tidelock_secret::private;

/// The longest secret that is read, in bytes. A private key or a token is far below.
const MAX_SECRET: usize = 64 << 10;

/// The value of an `Authorization` header. Read anew for each fetch, so that a rotated
/// secret counts from the next poll on.
pub(crate) fn authorization(decl: &AuthDecl, base: &Path, tls: bool) -> Result<Option<String>, SourceError> {
    let token = secret(decl.token_env.as_deref(), decl.token_file.as_deref(), "token", base)?;
    let password = secret(decl.password_env.as_deref(), decl.password_file.as_deref(), "password", base)?;
    let value = match (token, password) {
        (Some(_), Some(_)) => return Err(invalid("both a token and a password are given", "keep one of them")),
        (Some(_), None) if decl.username.is_some() => {
            return Err(invalid(
                "a username goes with a password, not with a token",
                "use password_env, or remove username",
            ));
        }
        (Some(token), None) => format!("Bearer {token}"),
        (None, Some(password)) => format!("Basic {}", STANDARD.encode(format!("{}:{password}", user(decl)?))),
        (None, None) if decl.username.is_some() => {
            return Err(invalid("a username is given, but no password", "add password_env or password_file"));
        }
        (None, None) => return Ok(None),
    };
    if !tls && !decl.insecure {
        return Err(SourceError::new(
            "auth",
            "credentials are not sent over plain http://, where anyone on the way reads them",
        )
        .hint("use the https:// url; or, on a network that you trust, add insecure = true to auth"));
    }
    Ok(Some(value))
}

/// User and password, both of which have to be there.
pub(crate) fn password(decl: &AuthDecl, base: &Path) -> Result<(String, String), SourceError> {
    let password = secret(decl.password_env.as_deref(), decl.password_file.as_deref(), "password", base)?;
    let password =
        password.ok_or_else(|| invalid("a username is given, but no password", "add password_env or password_file"))?;
    Ok((user(decl)?.to_owned(), password))
}

fn user(decl: &AuthDecl) -> Result<&str, SourceError> {
    match decl.username.as_deref().unwrap_or_default() {
        user if user.is_empty() || user.contains(':') => {
            Err(invalid("a password needs a username without a colon", "add username = \"...\""))
        }
        user => Ok(user),
    }
}

fn invalid(message: &str, hint: &str) -> SourceError {
    SourceError::new("invalid", format!("auth of the source: {message}")).hint(hint)
}

/// Reads a secret of one line from the environment variable or the file that the config
/// names; `what` says what for. `None` where it names neither.
///
/// # Errors
/// It names both, there is none, or it is not one line.
pub fn secret(env: Option<&str>, file: Option<&str>, what: &str, base: &Path) -> Result<Option<String>, SourceError> {
    let (text, place) = match (env, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(invalid(&format!("{what}_env and {what}_file are both given"), "keep one of them"));
        }
        (Some(name), None) => {
            let text = std::env::var(name).map_err(|_| {
                SourceError::new("auth", format!("{what}_env names {name}, which is not set in the environment"))
                    .hint(format!("export {name} before tidelock starts"))
            })?;
            (text, format!("the environment variable {name}"))
        }
        (None, Some(file)) => {
            let path = base.join(file);
            let text = private::read_text(&path, MAX_SECRET).map_err(|refused| {
                SourceError::new("auth", format!("cannot read {what}_file: {refused}")).hint(refused.hint())
            })?;
            (text.to_string(), path.display().to_string())
        }
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(SourceError::new("auth", format!("the {what} in {place} is empty or holds control characters"))
            .hint("one line that holds the secret alone is expected"));
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("secret"), "hunter2\n", 0o600);
        write(&dir.path().join("empty"), "\n", 0o600);
        write(&dir.path().join("two"), "a\nX-Evil: b\n", 0o600);
        dir
    }

    #[test]
    fn a_file_that_is_open_to_others_holds_no_secret() {
        let dir = dir();
        for (mode, good) in [(0o644, false), (0o604, false), (0o660, false), (0o640, true), (0o400, true)] {
            write(&dir.path().join("open"), "hunter2\n", 0o600);
            write(&dir.path().join("open"), "hunter2\n", mode);
            let decl = AuthDecl { token_file: Some("open".into()), ..AuthDecl::default() };
            match authorization(&decl, dir.path(), true) {
                Ok(_) => assert!(good, "{mode:o}"),
                Err(error) => {
                    assert!(!good && error.code == "auth", "{mode:o}: {error}");
                    assert!(error.message.contains(&format!("mode {mode:04o}")), "{error}");
                }
            }
            std::fs::remove_file(dir.path().join("open")).unwrap();
        }
    }

    fn password() -> AuthDecl {
        AuthDecl { username: Some("bot".into()), password_file: Some("secret".into()), ..AuthDecl::default() }
    }

    #[test]
    fn basic_and_bearer() {
        let dir = dir();
        assert_eq!(
            authorization(&password(), dir.path(), true).unwrap().as_deref(),
            Some(format!("Basic {}", STANDARD.encode("bot:hunter2")).as_str())
        );
        let token = AuthDecl { token_file: Some("secret".into()), ..AuthDecl::default() };
        assert_eq!(authorization(&token, dir.path(), true).unwrap().as_deref(), Some("Bearer hunter2"));
        assert_eq!(authorization(&AuthDecl::default(), dir.path(), false).unwrap(), None);
    }

    #[test]
    fn plain_http_needs_a_word() {
        let dir = dir();
        let error = authorization(&password(), dir.path(), false).unwrap_err();
        assert_eq!(error.code, "auth");
        let insecure = AuthDecl { insecure: true, ..password() };
        assert!(authorization(&insecure, dir.path(), false).unwrap().is_some());
    }

    #[test]
    fn half_a_sign_in_is_an_error() {
        let dir = dir();
        let file = |name: &str| Some(name.to_owned());
        for (decl, code) in [
            (AuthDecl { username: file("bot"), ..AuthDecl::default() }, "invalid"),
            (AuthDecl { password_file: file("secret"), ..AuthDecl::default() }, "invalid"),
            (AuthDecl { token_file: file("secret"), ..password() }, "invalid"),
            (AuthDecl { token_file: file("secret"), token_env: file("X"), ..AuthDecl::default() }, "invalid"),
            (AuthDecl { token_file: file("missing"), ..AuthDecl::default() }, "auth"),
            (AuthDecl { token_file: file("empty"), ..AuthDecl::default() }, "auth"),
            (AuthDecl { token_file: file("two"), ..AuthDecl::default() }, "auth"),
            (AuthDecl { token_env: file("TIDELOCK_TEST_NEVER_SET"), ..AuthDecl::default() }, "auth"),
        ] {
            assert_eq!(authorization(&decl, dir.path(), true).unwrap_err().code, code, "{decl:?}");
        }
    }
}
