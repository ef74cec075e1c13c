//! Contents by digest, for undo, and renders by what they read, so that a commit
//! which touches none of it renders nothing.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tidelock_model::digest::Digest;
use tidelock_model::port::Rendered;
use tidelock_model::reads::Read;
use tidelock_model::resource::RenderedDoc;

use crate::column::{json, number};
use crate::error::{Kept, Trouble};

/// Bytes of renders that are kept, the newest first.
const RENDER_BYTES: i64 = 64 << 20;

/// Renders that are kept. Well above the lanes of one store: with fewer, a pass over
/// all of them would throw out each render just before it is asked for again.
const RENDERS: i64 = 4096;

/// A kept render. One that cannot be read any more is as good as none: it is only a cache.
pub(crate) fn render(connection: &Connection, key: &Digest) -> Kept<Option<Rendered>> {
    let text: Option<String> = connection
        .prepare_cached("SELECT rendered FROM renders WHERE key = ?1")?
        .query_row([key.to_string()], |row| row.get(0))
        .optional()?;
    let parts: Option<(Vec<RenderedDoc>, Vec<Read>)> = text.and_then(|text| serde_json::from_str(&text).ok());
    Ok(parts.map(|(docs, reads)| Rendered { docs, reads }))
}

/// Keeps a render, and drops the oldest beyond the bounds.
pub(crate) fn put_render(transaction: &Transaction<'_>, key: &Digest, rendered: &Rendered) -> Kept<()> {
    let text = json("a render", &(&rendered.docs, &rendered.reads))?;
    // A render that is put again counts as new: it gets a new place in the order.
    transaction.prepare_cached("DELETE FROM renders WHERE key = ?1")?.execute([key.to_string()])?;
    transaction.prepare_cached("INSERT INTO renders (key, bytes, rendered) VALUES (?1, ?2, ?3)")?.execute(params![
        key.to_string(),
        number(text.len() as u64),
        text
    ])?;
    drop_oldest(transaction, RENDERS, RENDER_BYTES)
}

fn drop_oldest(transaction: &Transaction<'_>, renders: i64, bytes: i64) -> Kept<()> {
    transaction
        .prepare_cached(
            "DELETE FROM renders WHERE seq <= (
               SELECT seq FROM (
                 SELECT seq, row_number() OVER newest AS place, sum(bytes) OVER newest AS total FROM renders
                 WINDOW newest AS (ORDER BY seq DESC ROWS UNBOUNDED PRECEDING))
               WHERE place > ?1 OR total > ?2 ORDER BY seq DESC LIMIT 1)",
        )?
        .execute([renders, bytes])?;
    Ok(())
}

/// A kept content, checked against its digest: what undo writes is what was there.
pub(crate) fn blob(connection: &Connection, digest: &Digest) -> Kept<Option<Vec<u8>>> {
    let content: Option<Vec<u8>> = connection
        .prepare_cached("SELECT content FROM blobs WHERE digest = ?1")?
        .query_row([digest.to_string()], |row| row.get(0))
        .optional()?;
    match content {
        Some(content) if Digest::of(&content) != *digest => {
            Err(Trouble::row(format!("the content {digest}"), &"its bytes have another digest"))
        }
        content => Ok(content),
    }
}

/// Keeps a content; one that is kept already counts as new.
pub(crate) fn put_blob(transaction: &Transaction<'_>, digest: &Digest, content: &[u8]) -> Kept<()> {
    if Digest::of(content) != *digest {
        return Err(Trouble::invalid(format!("a content was put under {digest}, which is not its digest")));
    }
    transaction
        .prepare_cached(
            "INSERT INTO blobs (digest, content, at) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest) DO UPDATE SET at = max(at, excluded.at)",
        )?
        .execute(params![digest.to_string(), content, Timestamp::now().to_string()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidelock_model::port::Store;

    use super::*;
    use crate::SqliteStore;
    use crate::door::Durability;

    fn render_of(text: &str) -> Rendered {
        let place = tidelock_model::error::Place::file("a.yaml");
        Rendered { docs: vec![RenderedDoc { document: text.to_owned(), place }], reads: vec![] }
    }

    fn kept(store: &SqliteStore, keys: &[Digest]) -> Vec<bool> {
        keys.iter().map(|key| store.render(key).unwrap().is_some()).collect()
    }

    #[test]
    fn the_oldest_renders_go_by_number_and_by_bytes() {
        let store = SqliteStore::in_memory().unwrap();
        let keys: Vec<Digest> = (0..5_u8).map(|n| Digest::of(&[n])).collect();
        for key in &keys {
            store.put_render(key, &render_of(&"x".repeat(1000))).unwrap();
        }
        assert_eq!(kept(&store, &keys), [true; 5]);
        store.write(Durability::Soon, |tx| drop_oldest(tx, 4, i64::MAX)).unwrap();
        assert_eq!(kept(&store, &keys), [false, true, true, true, true]);
        // Put again, the second becomes the newest.
        store.put_render(&keys[1], &render_of(&"x".repeat(1000))).unwrap();
        store.write(Durability::Soon, |tx| drop_oldest(tx, 4, 2500)).unwrap();
        assert_eq!(kept(&store, &keys), [false, true, false, false, true]);
    }

    #[test]
    fn one_render_beyond_all_bounds_is_not_kept() {
        let store = SqliteStore::in_memory().unwrap();
        let key = Digest::of(b"big");
        store.put_render(&key, &render_of(&"x".repeat(RENDER_BYTES as usize))).unwrap();
        assert_eq!(store.render(&key).unwrap(), None);
    }
}
