//! Performing groups of statements: which go together, in which order, and what came of each.
//!
//! All of it runs in a task of its own. When nobody waits for the answer any more, no further
//! group is begun; what was begun ends.

use tidelock_model::effect::{Effect, EffectBody};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::ungranted;
use tidelock_model::plan::Group;
use tidelock_model::port::{Blobs, Until};
use tidelock_model::run::{EffectEnd, Outcome};
use tidelock_model::secret::SecretName;
use tidelock_model::sql::{Dialect, Piece, SecretForm, SqlEffect};

use super::value::fault;
use super::{Server, Turn, mariadb, postgres};
use crate::right::Right;

/// An effect with its statement as the server gets it.
pub(super) struct Ready<'e> {
    pub(super) effect: &'e Effect,
    /// Holds what secrets became: never shown.
    pub(super) sql: String,
}

impl Ready<'_> {
    /// Whether what a secret became is in the statement.
    pub(super) fn holds_secret(&self) -> bool {
        matches!(&self.effect.body, EffectBody::Sql(statement) if statement.secrets().next().is_some())
    }
}

/// A group without its words for people, and the statement of each effect.
struct Job {
    effects: Vec<Effect>,
    /// What secrets became is in them. The first that cannot be had ends the group.
    statements: Vec<Result<String, Fault>>,
}

/// See [`tidelock_model::port::Target::perform`].
pub(super) async fn perform(
    server: &Server,
    run: &str,
    groups: &[Group],
    blobs: &dyn Blobs,
    until: &Until,
) -> Vec<Outcome> {
    let mut jobs: Vec<Job> = Vec::with_capacity(groups.len());
    for group in groups {
        let effects: Vec<Effect> = group.effects.iter().map(|planned| planned.effect.clone()).collect();
        let mut statements = Vec::with_capacity(effects.len());
        for effect in &effects {
            statements.push(prepare(server, effect, blobs));
        }
        jobs.push(Job { effects, statements });
    }
    let sizes: Vec<usize> = jobs.iter().map(|job| job.effects.len()).collect();
    let server = server.clone();
    let (right, _waiting) = Right::under(until);
    let work = tokio::spawn(async move { all(&server, &jobs, &right).await });
    let ends = work.await.unwrap_or_else(|error| {
        let why = format!("the task that performed it ended early: {error}");
        sizes.iter().map(|size| vec![EffectEnd::Unknown { why: why.clone() }; *size]).collect()
    });
    let outcome =
        |(group, effects): (&Group, _)| Outcome { run: run.to_owned(), group: group.id, effects, lost: vec![] };
    groups.iter().zip(ends).map(outcome).collect()
}

async fn all(server: &Server, jobs: &[Job], right: &Right) -> Vec<Vec<EffectEnd>> {
    // One of us at a time; then one of all who perform on this server.
    let _one = server.inner.performing.lock().await;
    let turn = match server.turn().await {
        Ok(turn) => turn,
        Err(fault) => {
            let fault = fault.whole();
            return jobs.iter().map(|job| failed_at(&job.effects, 0, &fault)).collect();
        }
    };
    let mut ends = Vec::with_capacity(jobs.len());
    for job in jobs {
        ends.push(group(server, job, right).await);
    }
    server.end_turn(turn).await;
    ends
}

/// Performs one group: stretches of effects that can be one transaction each, in order. The
/// first that fails ends it.
async fn group(server: &Server, job: &Job, right: &Right) -> Vec<EffectEnd> {
    let effects = &job.effects;
    let mut ready = Vec::with_capacity(effects.len());
    for (i, (effect, statement)) in effects.iter().zip(&job.statements).enumerate() {
        match statement {
            Ok(sql) => ready.push(Ready { effect, sql: sql.clone() }),
            Err(fault) => return failed_at(effects, i, fault),
        }
    }
    let mut ends = Vec::with_capacity(effects.len());
    while ends.len() < ready.len() {
        if right.is_over() {
            ends.resize(effects.len(), EffectEnd::NotReached);
            break;
        }
        let (stretch, database, alone) = next(server, &ready[ends.len()..]);
        let come = server.perform_stretch(&database, stretch, alone, right).await;
        let good = come.iter().all(|end| *end == EffectEnd::Done);
        ends.extend(come);
        if !good {
            ends.resize(effects.len(), EffectEnd::NotReached);
        }
    }
    ends
}

/// The longest stretch from the front that is one transaction, where, and whether it takes none.
fn next<'r, 'e>(server: &Server, ready: &'r [Ready<'e>]) -> (&'r [Ready<'e>], String, bool) {
    let maintenance = || server.maintenance().to_owned();
    let first = statement(&ready[0]);
    if apart(first) {
        let database = first.and_then(|statement| statement.database.clone()).unwrap_or_else(maintenance);
        return (&ready[..1], database, true);
    }
    let mut database: Option<&str> = None;
    let mut length = 0;
    for item in ready {
        let statement = statement(item);
        if apart(statement) {
            break;
        }
        // What belongs to the whole server can be done from any of its databases.
        match (statement.and_then(|statement| statement.database.as_deref()), database) {
            (Some(other), Some(chosen)) if other != chosen => break,
            (Some(other), None) => database = Some(other),
            _ => {}
        }
        length += 1;
    }
    (&ready[..length], database.map_or_else(maintenance, ToOwned::to_owned), false)
}

fn statement<'e>(ready: &Ready<'e>) -> Option<&'e SqlEffect> {
    match &ready.effect.body {
        EffectBody::Sql(statement) => Some(statement),
        _ => None,
    }
}

fn apart(statement: Option<&SqlEffect>) -> bool {
    statement.is_none_or(|statement| statement.alone() || !statement.dialect.transactional())
}

/// The statement of an effect, once the grant said yes again.
fn prepare(server: &Server, effect: &Effect, blobs: &dyn Blobs) -> Result<String, Fault> {
    let EffectBody::Sql(statement) = &effect.body else {
        return Err(fault("invalid", format!("`{}` is not for a database server", effect.body.summary())));
    };
    let Some(grant) = server.inner.grants.get(&effect.plugin) else {
        let target = server.inner.name.as_str();
        return Err(ungranted(&effect.plugin, target, |nothing| nothing.decide_effect(&effect.body)));
    };
    grant.decide_effect(&effect.body)?;
    let pieces =
        statement.pieces().map_err(|why| Fault::new("invalid", Blame::Plugin, format!("a statement {why}")))?;
    let mut sql = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => sql.push_str(&text),
            Piece::Secret { name, form } => {
                let name: SecretName = name.parse().map_err(|why: String| Fault::new("invalid", Blame::Plugin, why))?;
                let value = blobs.secret(&name)?;
                let value = std::str::from_utf8(value.reveal())
                    .map_err(|_| fault("invalid", format!("the secret {name} is no text, as a password must be")))?;
                if value.is_empty() || value.contains('\0') {
                    return Err(fault("invalid", format!("the secret {name} is empty or holds a NUL")));
                }
                let written = match (form, statement.dialect) {
                    (SecretForm::Verifier, Dialect::Postgres) => postgres::verifier(value),
                    (SecretForm::Verifier, _) => mariadb::verifier(&sql, value)?,
                    (SecretForm::Plain, _) => value.to_owned(),
                };
                sql.push_str(&statement.literal(&written));
            }
        }
    }
    Ok(sql)
}

fn failed_at(effects: &[Effect], at: usize, fault: &Fault) -> Vec<EffectEnd> {
    (0..effects.len())
        .map(|i| if i == at { EffectEnd::Failed { fault: fault.clone() } } else { EffectEnd::NotReached })
        .collect()
}

/// What an effect relied on is no longer so.
pub(super) fn changed(effect: &Effect) -> Fault {
    fault("changed", format!("what {} relied on has changed since the plan was made", effect.identity))
        .retryable()
        .hint("plan again")
}

impl Server {
    async fn perform_stretch(
        &self,
        database: &str,
        stretch: &[Ready<'_>],
        alone: bool,
        right: &Right,
    ) -> Vec<EffectEnd> {
        self.inner.driver.perform(&self.inner.limits, &self.inner.grants, database, stretch, alone, right).await
    }

    async fn turn(&self) -> Result<Turn, super::SqlFault> {
        self.inner.driver.turn(&self.inner.limits).await
    }

    async fn end_turn(&self, turn: Turn) {
        self.inner.driver.end_turn(turn).await;
    }
}
