//! Following the stream of events: each one once, in order, from where a reader stands.
//!
//! Events get their numbers and become visible in one transaction of a store with one
//! writer. So whoever has seen a number has seen, or can see, every one below it.

use tidelock_model::event::StoredEvent;
use tidelock_model::port::{Filter, Store, StoreError};

/// Events that are read at once.
const AT_ONCE: usize = 1_000;

/// A reader's place in the stream.
#[derive(Debug, Clone)]
pub struct Tail {
    filter: Filter,
    /// The last number that was seen; `None` before the first look.
    last: Option<u64>,
}

impl Tail {
    /// A reader that begins with the newest events that the filter lets through, as many
    /// as its limit says.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self { filter, last: None }
    }

    /// What is new, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn next(&mut self, store: &dyn Store) -> Result<Vec<StoredEvent>, StoreError> {
        // Asked first: what comes in between is for the next look.
        let newest = store.events(&Filter { limit: Some(1), ..Filter::default() })?.last().map_or(0, |event| event.seq);
        let Some(mut last) = self.last else {
            self.last = Some(newest);
            let mut events = store.events(&self.filter)?;
            events.retain(|event| event.seq <= newest);
            return Ok(events);
        };
        let mut out = Vec::new();
        while last < newest {
            let filter = Filter { after: Some(last), limit: Some(AT_ONCE), ..self.filter.clone() };
            let mut events = store.events(&filter)?;
            let all = events.len() < AT_ONCE;
            events.retain(|event| event.seq <= newest);
            last = if all { newest } else { events.last().map_or(newest, |event| event.seq) };
            out.extend(events);
        }
        self.last = Some(last);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::Timestamp;
    use tidelock_model::event::RunEvent;
    use tidelock_model::name::{Lane, Name};
    use tidelock_store::SqliteStore;

    use super::*;

    fn lane(stack: &str) -> Lane {
        let name = |text: &str| Name::new(text).unwrap();
        Lane { source: name("infra"), stack: name(stack), target: name("local") }
    }

    fn add(store: &SqliteStore, stack: &str) {
        store.put_event(Timestamp::UNIX_EPOCH, None, Some(&lane(stack)), &RunEvent::ConfigRead).unwrap();
    }

    fn numbers(events: &[StoredEvent]) -> Vec<u64> {
        events.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn it_begins_with_the_newest_and_goes_on_with_what_is_new() {
        let store = SqliteStore::in_memory().unwrap();
        let mut tail = Tail::new(Filter { limit: Some(2), ..Filter::default() });
        assert_eq!(numbers(&tail.next(&store).unwrap()), Vec::<u64>::new());
        let mut late = tail.clone();
        for _ in 0..3 {
            add(&store, "web");
        }
        assert_eq!(numbers(&tail.next(&store).unwrap()), [1, 2, 3], "the limit is for the beginning");
        assert!(tail.next(&store).unwrap().is_empty());
        late.last = None;
        assert_eq!(numbers(&late.next(&store).unwrap()), [2, 3]);
    }

    #[test]
    fn a_filter_holds_for_what_is_new_too() {
        let store = SqliteStore::in_memory().unwrap();
        let mut tail = Tail::new(Filter { stack: Some("web".into()), limit: Some(0), ..Filter::default() });
        add(&store, "web");
        assert!(tail.next(&store).unwrap().is_empty());
        for stack in ["db", "web", "db", "web", "db"] {
            add(&store, stack);
        }
        assert_eq!(numbers(&tail.next(&store).unwrap()), [3, 5]);
        add(&store, "db");
        assert!(tail.next(&store).unwrap().is_empty());
    }

    #[test]
    fn none_is_missed_or_doubled_while_others_write() {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let done = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let store = Arc::clone(&store);
                std::thread::spawn(move || (0..700).for_each(|_| add(&store, "web")))
            })
            .collect();
        let reader = {
            let (store, done) = (Arc::clone(&store), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut tail = Tail::new(Filter { limit: Some(0), ..Filter::default() });
                let mut seen = vec![];
                let first = tail.last;
                loop {
                    let last = done.load(Ordering::Acquire);
                    let events = tail.next(store.as_ref()).unwrap();
                    let from = tail.last.unwrap();
                    seen.extend(numbers(&events));
                    if last {
                        return (first, from, seen);
                    }
                }
            })
        };
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Release);
        let (first, last, seen) = reader.join().unwrap();
        assert_eq!((first, last), (None, 2800));
        let begin = seen.first().copied().unwrap_or(2801);
        assert_eq!(seen, (begin..=2800).collect::<Vec<_>>());
    }
}
