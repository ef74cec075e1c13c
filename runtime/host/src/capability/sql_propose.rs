//! `tidelock:sql/propose`: statements for a database server, as data. Nothing is performed
//! here, and nothing here can perform.

use tidelock_model::effect::{AfterCrash, EffectBody};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::sql::{
    Act, Defaults, Grant, Granted, Grantee, Object, Part, Privilege, SecretForm, Setting, SqlEffect, Statement, Verb,
};
use wasmtime::Result;

use crate::bindings::sql_propose::{self as wit, Host};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::convert::to_guest;
use crate::eyes::SqlReads;
use crate::proposals::{Offer, There};
use crate::provider::Pass;

impl Host for CallState {
    async fn execute(&mut self, common: wit::Common, given: wit::Statement) -> Result<Result<(), Error>> {
        let verb = match given.verb {
            wit::Verb::Create => Verb::Create,
            wit::Verb::Alter => Verb::Alter,
            wit::Verb::Drop => Verb::Drop,
            wit::Verb::Comment => Verb::Comment,
            wit::Verb::Reassign => Verb::Reassign,
            wit::Verb::Reload => Verb::Reload,
        };
        let parts = given.parts.into_iter().map(part).collect();
        let act = Act::Execute(Statement { verb, object: object(given.object), parts });
        self.propose_sql("sql/propose.execute", common, act).await
    }

    async fn rename(&mut self, common: wit::Common, of: wit::Object, to: String) -> Result<Result<(), Error>> {
        self.propose_sql("sql/propose.rename", common, Act::Rename { object: object(of), to }).await
    }

    async fn set(&mut self, common: wit::Common, given: wit::Setting) -> Result<Result<(), Error>> {
        let wit::Setting { object: of, in_database, name, value } = given;
        let act = Act::Set(Setting { object: object(of), in_database, name, value });
        self.propose_sql("sql/propose.set", common, act).await
    }

    async fn grant(&mut self, common: wit::Common, given: wit::GrantStatement) -> Result<Result<(), Error>> {
        let wit::GrantStatement { revoke, granted, grantee, with_option, options, granted_by, cascade } = given;
        let granted = match granted {
            wit::Granted::Privileges((list, on)) => Granted::Privileges(privileges(list), object(on)),
            wit::Granted::AllInSchema((list, on)) => Granted::AllInSchema(privileges(list), object(on)),
            wit::Granted::Membership(role) => Granted::Membership(role),
            wit::Granted::Defaults(defaults) => Granted::Defaults(Defaults {
                owner: defaults.owner,
                schema: defaults.schema,
                class: defaults.class,
                privileges: privileges(defaults.privileges),
            }),
        };
        let grantee = match grantee {
            wit::Grantee::Public => Grantee::Public,
            wit::Grantee::Role(role) => Grantee::Role(role),
            wit::Grantee::User((name, host)) => Grantee::User(name, host),
        };
        let act = Act::Grant(Grant { revoke, granted, grantee, with_option, options, granted_by, cascade });
        self.propose_sql("sql/propose.grant", common, act).await
    }
}

impl CallState {
    async fn propose_sql(
        &mut self,
        function: &'static str,
        common: wit::Common,
        act: Act,
    ) -> Result<Result<(), Error>> {
        let pass = self.pass(function)?;
        let reads = match pass.eyes.sql() {
            Ok(reads) => std::sync::Arc::clone(reads),
            Err(fault) => return Ok(Err(to_guest(&fault))),
        };
        let dialect = match reads.dialect().await {
            Ok(dialect) => dialect,
            Err(fault) => return Ok(Err(self.failure(None, fault).error)),
        };
        let wit::Common { change, preconditions, together, after_crash, database, extras: _ } = common;
        let mut statement = SqlEffect { dialect, database, act, unread: false };
        statement.unread = !reads.reads_as(&statement);
        if let Some(fault) = lends(&self.door.plugin, &pass, &*reads, &statement).await {
            self.door.denied(&fault);
            return Ok(Err(to_guest(&fault)));
        }
        // What cannot be part of a transaction is not promised to be.
        let together = together.filter(|_| dialect.transactional() && !statement.alone());
        let offer = Offer {
            change,
            body: EffectBody::Sql(Box::new(statement)),
            preconditions,
            together,
            after_crash: match after_crash {
                wit::AfterCrash::Observe => AfterCrash::Observe,
                wit::AfterCrash::Repeat => AfterCrash::Repeat,
                wit::AfterCrash::Ask => AfterCrash::Ask,
            },
        };
        self.offer(function, offer, |_, path| async move {
            Err::<There, _>(Fault::new("invalid", Blame::Host, format!("{path} is no path of a database server")))
        })
        .await
    }
}

/// Why somebody may not act as the roles that a statement lends, by what they reach now. It is
/// asked again when it is performed.
async fn lends(plugin: &str, pass: &Pass, reads: &dyn SqlReads, statement: &SqlEffect) -> Option<Fault> {
    let lent = statement.lends();
    let grant = pass.eyes.grant(plugin)?;
    if lent.is_empty() || grant.decide_effect(&EffectBody::Sql(Box::new(statement.clone()))).is_err() {
        // What is not granted at all is told by the offer.
        return None;
    }
    let reach = match pass.reach.get_or_try_init(|| reads.reach()).await {
        Ok(reach) => reach,
        Err(fault) => return Some(fault.whole()),
    };
    let refused = |role: String| grant.decide_reach(&role, reach, |power| statement.takes(power)).err();
    lent.into_iter().find_map(refused)
}

fn object(object: wit::Object) -> Object {
    Object { class: object.class, name: object.name }
}

fn part(part: wit::Part) -> Part {
    match part {
        wit::Part::Text(text) => Part::Text(text),
        wit::Part::Identifier(names) => Part::Identifier(names),
        wit::Part::Literal(text) => Part::Literal(text),
        wit::Part::Integer(number) => Part::Integer(number),
        wit::Part::Secret(secret) => Part::Secret {
            name: secret.name,
            form: match secret.form {
                wit::SecretForm::Verifier => SecretForm::Verifier,
                wit::SecretForm::Plain => SecretForm::Plain,
            },
        },
    }
}

fn privileges(list: Vec<wit::Privilege>) -> Vec<Privilege> {
    list.into_iter().map(|privilege| Privilege { name: privilege.name, columns: privilege.columns }).collect()
}
