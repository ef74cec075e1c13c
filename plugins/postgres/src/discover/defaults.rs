//! Default privileges that somebody set.

use std::collections::BTreeMap;

use serde_json::json;
use tidelock_sdk::{Error, Found, Machine};

use super::{in_databases, said};
use crate::privileges::{self, Set};

/// For all schemas they stand in place of what the server would grant; for one schema they are
/// added to it.
const KEPT: &str = "SELECT x.side, o.rolname::text AS owner, x.schema, x.made, coalesce(g.rolname::text, 'public') AS grantee, \
    json_agg(json_build_array(a.privilege_type, a.is_grantable, '') ORDER BY a.privilege_type, a.is_grantable) AS privileges \
    FROM (SELECT s.side, d.defaclrole AS owner, coalesce(n.nspname::text, '') AS schema, k.made, \
        CASE WHEN s.side = 'held' THEN d.defaclacl WHEN d.defaclnamespace = 0 \
            THEN acldefault(CAST(k.letter AS \"char\"), d.defaclrole) END AS acl \
        FROM pg_default_acl d CROSS JOIN (VALUES ('held'), ('new')) AS s (side) \
        JOIN (VALUES ('r', 'r', 'tables'), ('S', 's', 'sequences'), ('f', 'f', 'functions'), ('T', 'T', 'types'), \
            ('n', 'n', 'schemas')) AS k (kept, letter, made) ON d.defaclobjtype::text = k.kept \
        LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace) x \
    JOIN pg_roles o ON o.oid = x.owner CROSS JOIN LATERAL aclexplode(x.acl) a LEFT JOIN pg_roles g ON g.oid = a.grantee \
    GROUP BY 1, 2, 3, 4, 5";

/// Whose, where, of what, and to whom.
type Key = (String, String, String, String);

pub(crate) fn default_privileges(machine: &Machine<'_>) -> Result<Vec<Found>, Error> {
    in_databases(machine, |database, opened| {
        let rows = opened.query(KEPT, &[])?;
        let mut pairs: BTreeMap<Key, (Set, Set)> = BTreeMap::new();
        for row in rows.iter() {
            let key = (row.get("owner")?, row.get("schema")?, row.get("made")?, row.get("grantee")?);
            let pair = pairs.entry(key).or_default();
            let side = if row.get::<String>("side")? == "held" { &mut pair.0 } else { &mut pair.1 };
            *side = privileges::read(row, "privileges")?;
        }
        let mut found = Vec::new();
        for ((owner, schema, made, grantee), (held, new)) in pairs {
            if held == new {
                continue;
            }
            let (privileges, option, remarks) = said(&held);
            let mut spec =
                json!({ "database": database, "owner": owner, "on": made, "role": grantee, "privileges": privileges });
            if !schema.is_empty() {
                spec["schema"] = json!(schema);
            }
            if option && grantee != "public" {
                spec["grant_option"] = json!(true);
            }
            if new.difference(&held).next().is_some() {
                spec["owns"] = json!("all");
            }
            let place = [owner.as_str(), database, &schema, &made, &grantee];
            let name: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
            found.push(Found { name: name.join("-"), spec, remarks });
        }
        Ok(found)
    })
}
