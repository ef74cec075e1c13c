//! Where something lies: subjects sorted by their database, and databases that are not there
//! or cannot be looked into told apart from things that are absent.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Map, Value as Json};
use tidelock_sdk::sql::{Database, Rows, Server, identity};
use tidelock_sdk::{Error, Machine, Observation, Subject};

const DATABASES: &str = "SELECT datname, datallowconn FROM pg_database";

/// A subject with the parts of its identity.
pub(crate) struct Place<'s> {
    /// The subject.
    pub(crate) subject: &'s Subject,
    /// The parts of its identity's name, outermost first.
    pub(crate) parts: Vec<String>,
}

impl Place<'_> {
    /// A part of the identity; empty where it has fewer.
    pub(crate) fn part(&self, at: usize) -> &str {
        self.parts.get(at).map_or("", String::as_str)
    }
}

/// Looks at subjects database by database. `at` says which part of an identity names the
/// database; `look` answers for those of one, in the order of the question. What is in a
/// database that is not there is absent.
pub(crate) fn by_database<'h>(
    subjects: &[Subject],
    machine: &'h Machine<'_>,
    at: usize,
    mut look: impl FnMut(&str, &Database<'h>, &[Place<'_>]) -> Result<Vec<Observation>, Error>,
) -> Result<Vec<Observation>, Error> {
    let server = Server::of(machine);
    let databases = databases(server)?;
    let known = databases.by_key::<String>("datname")?;
    let mut places: BTreeMap<String, (Vec<usize>, Vec<Place<'_>>)> = BTreeMap::new();
    for (index, subject) in subjects.iter().enumerate() {
        let parts = identity::parts(&subject.identity);
        let database = parts.get(at).cloned().unwrap_or_default();
        let (order, of_database) = places.entry(database).or_default();
        order.push(index);
        of_database.push(Place { subject, parts });
    }
    let mut answers: Vec<Option<Observation>> = Vec::new();
    answers.resize_with(subjects.len(), || None);
    for (database, (order, of_database)) in places {
        let seen = match known.get(&database) {
            // Nothing to rely on later: the plan itself may make the database first.
            None => vec![Observation::absent([]); of_database.len()],
            Some(row) if !row.get::<bool>("datallowconn")? => {
                vec![Observation::Failed(refuses(&database)); of_database.len()]
            }
            Some(_) => match server
                .database(&database)
                .map_err(Error::from)
                .and_then(|opened| look(&database, &opened, &of_database))
            {
                Ok(seen) => seen,
                // One database that cannot be looked into does not hide the others.
                Err(error) => vec![Observation::Failed(error); of_database.len()],
            },
        };
        for (index, observation) in order.into_iter().zip(seen) {
            answers[index] = Some(observation);
        }
    }
    let unanswered = || Observation::Failed(Error::plugin("no answer for this subject"));
    Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect())
}

/// A database for `steps`; none where it is not there.
pub(crate) fn opened<'h>(machine: &'h Machine<'_>, database: &str) -> Result<Option<Database<'h>>, Error> {
    let server = Server::of(machine);
    let databases = databases(server)?;
    match databases.find("datname", database)? {
        None => Ok(None),
        Some(row) if !row.get::<bool>("datallowconn")? => Err(refuses(database)),
        Some(_) => Ok(Some(server.database(database)?)),
    }
}

/// The names of the databases that there are.
pub(crate) fn names(machine: &Machine<'_>) -> Result<Rc<BTreeSet<String>>, Error> {
    let names = || databases(Server::of(machine))?.iter().map(|row| row.get("datname")).collect();
    machine.once("names of databases", names)
}

fn databases(server: Server<'_>) -> Result<Rc<Rows>, Error> {
    Ok(server.home()?.query(DATABASES, &[])?)
}

fn refuses(database: &str) -> Error {
    Error::target(
        "refused",
        format!(
            "the database {database} refuses connections, so nobody can look into it; `allow_connections: true` on it \
             lets Tidelock in"
        ),
    )
}

/// What was seen, of all fields, cut down to those that somebody manages and those that name
/// the thing.
pub(crate) fn managed(subject: &Subject, naming: &[&str], all: Map<String, Json>) -> Json {
    let keep = |key: &str| naming.contains(&key) || subject.manages(&format!("/{key}"));
    Json::Object(all.into_iter().filter(|(key, _)| keep(key)).collect())
}
