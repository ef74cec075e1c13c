//! `mysql.user`: accounts with how they sign in, what they must prove, limits and roles.

mod require;
mod steps;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::Secret;
use tidelock_sdk::{
    Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Present, Proposals, Readiness, SecretProbe,
    Step, Subject,
};

use crate::accounts::{self, Account, Accounts, Members, managed};
use crate::name::{Host, Owns, UserName, Who};
use require::Require;

/// The plugin whose hashes can be made and compared.
const NATIVE: &str = "mysql_native_password";

/// What stands for the plugin of an account that can be signed in to in several ways.
const SEVERAL: &str = "several";

/// What a `mysql.user` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// Its name, without quotes.
    name: UserName,
    /// From where it may come: a host, an address, a network, or `%` for all. That, unless said.
    #[serde(default = "Host::any")]
    host: Host,
    /// How it signs in: `mysql_native_password`, `unix_socket`, or another plugin of the server.
    /// With a password the first, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    /// Its password, by the name of a secret: `{ $secret: app-db }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<Secret>,
    /// What its connection must have: `none`, `ssl`, `x509`, or of its certificate `issuer`,
    /// `subject` and `cipher`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    require: Option<Require>,
    /// Limits of what it may do; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
    /// Whether nobody may sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locked: Option<bool>,
    /// The roles that it is a member of: a list of names, or for each its options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member_of: Option<Members>,
    /// The role that its sessions begin with; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_role: Option<String>,
    /// What becomes of memberships that the spec does not list.
    #[serde(default, skip_serializing_if = "Owns::is_listed")]
    owns: Owns,
    /// All memberships, where the spec owns all. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    exactly: Option<Vec<String>>,
}

/// Limits of an account; those that are not said are left alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Limits {
    /// Statements in an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queries_per_hour: Option<u32>,
    /// Statements that change something in an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updates_per_hour: Option<u32>,
    /// Connections in an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connections_per_hour: Option<u32>,
    /// Connections at a time; -1 for none at all but of the privileged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    user_connections: Option<i32>,
    /// Seconds that a statement may take, to the microsecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 31_536_000.0))]
    statement_time: Option<f64>,
}

/// The limits: the field, the key in which the server keeps it, and its word.
const LIMITS: &[(&str, &str, &str)] = &[
    ("queries_per_hour", "max_questions", "MAX_QUERIES_PER_HOUR"),
    ("updates_per_hour", "max_updates", "MAX_UPDATES_PER_HOUR"),
    ("connections_per_hour", "max_connections", "MAX_CONNECTIONS_PER_HOUR"),
    ("user_connections", "max_user_connections", "MAX_USER_CONNECTIONS"),
    ("statement_time", "max_statement_time", "MAX_STATEMENT_TIME"),
];

impl Limits {
    fn get(&self, field: &str) -> Option<Json> {
        match field {
            "queries_per_hour" => self.queries_per_hour.map(Json::from),
            "updates_per_hour" => self.updates_per_hour.map(Json::from),
            "connections_per_hour" => self.connections_per_hour.map(Json::from),
            "user_connections" => self.user_connections.map(Json::from),
            "statement_time" => self.statement_time.map(Json::from),
            _ => None,
        }
    }
}

/// `mysql.user`.
pub struct User;

impl UserSpec {
    fn who(&self) -> Who {
        Who::user(&self.name, &self.host)
    }
}

impl Kind for User {
    type Spec = UserSpec;
    const NAME: &'static str = "user";
    const DOC: &'static str = "An account: how it signs in, what its connection must have, limits, a lock, and the roles \
        that it is a member of.";
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        vec![Field::new("/owns").how(), Field::new("/password").sensitive(), Field::new("/member_of").owns_listed()]
    }

    fn identity(spec: &UserSpec) -> String {
        format!("user:{}", spec.who().part())
    }

    fn requires(spec: &UserSpec) -> Vec<String> {
        spec.member_of.iter().flat_map(Members::roles).filter_map(|role| Who::role(role).identity()).collect()
    }

    fn check(spec: &UserSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        let plugin = spec.plugin.as_deref().map(str::to_ascii_lowercase);
        if let Some(other) = plugin.filter(|plugin| spec.password.is_some() && plugin != NATIVE) {
            remarks.push(
                Diagnostic::error(format!("a password by a secret cannot be had with {other}"))
                    .at("/password")
                    .hint(format!("use {NATIVE}, or leave `password` out and set it by hand")),
            );
        }
        if spec.plugin.as_deref() == Some(SEVERAL) {
            remarks.push(
                Diagnostic::error("this stands for several ways to sign in, which no spec can say").at("/plugin"),
            );
        }
        if spec.plugin.as_deref().is_some_and(|plugin| !plugin.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')) {
            remarks.push(Diagnostic::error("this is no name of a plugin").at("/plugin"));
        }
        if spec.limits.as_ref().and_then(|limits| limits.user_connections).is_some_and(|limit| limit < -1) {
            remarks.push(Diagnostic::error("-1 is the least").at("/limits/user_connections"));
        }
        let time = spec.limits.as_ref().and_then(|limits| limits.statement_time);
        if time.is_some_and(|time| !(0.0..=31_536_000.0).contains(&time)) {
            remarks.push(Diagnostic::error("seconds from 0 to 31536000").at("/limits/statement_time"));
        }
        if let (Some(role), Some(members)) = (&spec.default_role, &spec.member_of)
            && !role.is_empty()
            && !members.roles().any(|member| member.as_str() == role)
        {
            let remark = Diagnostic::error(format!("the default role {role} is none of `member_of`"));
            remarks.push(remark.at("/default_role"));
        }
        remarks
    }

    fn normalise(mut spec: UserSpec, _: &Machine<'_>) -> Result<UserSpec, Error> {
        spec.plugin = spec.plugin.map(|plugin| plugin.to_ascii_lowercase());
        if spec.password.is_some() {
            spec.plugin.get_or_insert_with(|| NATIVE.to_owned());
        }
        if let Some(require) = &mut spec.require {
            require.fill();
        }
        if let Some(time) = spec.limits.as_mut().and_then(|limits| limits.statement_time.as_mut()) {
            *time = (*time * 1_000_000.0).round() / 1_000_000.0;
        }
        spec.exactly = match spec.owns {
            Owns::All => Some(spec.member_of.as_ref().map(Members::exactly).unwrap_or_default()),
            Owns::Listed => None,
        };
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let accounts = Accounts::of(machine)?;
        let look = |subject: &Subject| {
            let who = Who::of_part(subject.identity.strip_prefix("user:").unwrap_or_default());
            let seen = accounts.seen(&who)?;
            Ok(match accounts.get(&who) {
                None => Observation::absent([seen]),
                Some(account) => present(subject, fields(&who, account), seen),
            })
        };
        subjects.iter().map(look).collect()
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        let accounts = Accounts::of(machine)?;
        let ours = |(who, account): &(&Who, &Account)| !account.is_role && !accounts::servers_own(who);
        Ok(Some(accounts.iter().filter(ours).map(|(who, account)| found(who, account)).collect()))
    }

    fn steps(change: &Change<UserSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        steps::steps(change, machine, propose)
    }
}

fn present(subject: &Subject, all: Map<String, Json>, seen: String) -> Observation {
    // The host compares: what proves a password is closed to us.
    let probe = |field: &str| SecretProbe {
        field: field.to_owned(),
        method: "sql-password".to_owned(),
        material: subject.identity.clone(),
    };
    Observation::Present(Present {
        observed: managed(subject, &["name", "host"], all),
        unknown: Vec::new(),
        handle: None,
        readiness: Readiness::Ready,
        seen: vec![seen],
        probes: subject.manages("/password").then(|| probe("/password")).into_iter().collect(),
    })
}

/// All fields of an account.
fn fields(who: &Who, account: &Account) -> Map<String, Json> {
    let kept = |key: &str| account.kept.get(key);
    let plugin = match kept("plugin").and_then(Json::as_str) {
        _ if account.several => SEVERAL,
        None | Some("") => NATIVE,
        Some(plugin) => plugin,
    };
    let limit = |(field, key, _): &(&str, &str, &str)| {
        let value = kept(key);
        let value = match *field {
            "statement_time" => json!(value.and_then(Json::as_f64).unwrap_or_default()),
            _ => json!(value.and_then(Json::as_i64).unwrap_or_default()),
        };
        ((*field).to_owned(), value)
    };
    let all = json!({
        "name": who.name,
        "host": who.host,
        "plugin": plugin,
        "require": Require::of(&account.kept),
        "limits": LIMITS.iter().map(limit).collect::<Map<_, _>>(),
        "locked": kept("account_locked").and_then(Json::as_bool).unwrap_or_default(),
        "member_of": accounts::held(account),
        "default_role": kept("default_role").and_then(Json::as_str).unwrap_or_default(),
        "exactly": account.member_of.keys().collect::<Vec<_>>(),
    });
    all.as_object().cloned().unwrap_or_default()
}

/// An account as a person would write it.
fn found(who: &Who, account: &Account) -> Found {
    let all = fields(who, account);
    let mut spec = Map::new();
    let mut remarks = Vec::new();
    spec.insert("name".into(), json!(who.name));
    if who.host != "%" {
        spec.insert("host".into(), json!(who.host));
    }
    if account.several {
        remarks
            .push("it can be signed in to in several ways, which a spec cannot say: they are left as they are".into());
    } else if all["plugin"] != NATIVE {
        spec.insert("plugin".into(), all["plugin"].clone());
    } else if account.passwordless && all["locked"] != true {
        remarks.push(
            "it has no password: whoever reaches the server signs in as it; add `password: { $secret: NAME }`, or `locked: \
             true`"
                .into(),
        );
    } else {
        remarks.push("its password is left as it is; to manage it, add `password: { $secret: NAME }`".into());
    }
    if let Some(require) = Require::of(&account.kept).said() {
        spec.insert("require".into(), require);
    }
    let limits = all["limits"].as_object().cloned().unwrap_or_default();
    let limits: Map<String, Json> =
        limits.into_iter().filter(|(_, value)| value.as_f64().is_some_and(|value| value != 0.0)).collect();
    if !limits.is_empty() {
        spec.insert("limits".into(), Json::Object(limits));
    }
    if all["locked"] == true {
        spec.insert("locked".into(), json!(true));
    }
    if let Some(members) = accounts::said(account) {
        spec.insert("member_of".into(), members);
    }
    if all["default_role"] != "" {
        spec.insert("default_role".into(), all["default_role"].clone());
    }
    Found { name: who.to_string(), spec: Json::Object(spec), remarks }
}
