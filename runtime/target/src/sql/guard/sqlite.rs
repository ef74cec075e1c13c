//! What SQLite lets a query do that only looks.

use super::walk::{Relation, Rules, listed};

pub(super) struct Sqlite;

/// Functions that compute from their arguments, and those that tell of a table. None opens a
/// file, loads an extension or runs a text as SQL.
const FUNCTIONS: &str = "\
    abs char coalesce count format group_concat hex ifnull iif instr json json_array json_array_length json_extract \
    json_group_array json_group_object json_object json_type json_valid length lower ltrim max min nullif quote \
    replace round row_number rtrim sign substr substring sum trim typeof unicode upper \
    pragma_table_info pragma_table_xinfo pragma_table_list pragma_index_list pragma_index_info pragma_index_xinfo \
    pragma_foreign_key_list";

/// Functions that make a value for a column.
const MAKES: &str = "\
    current_timestamp current_date current_time date datetime time strftime julianday unixepoch random \
    randomblob";

const TYPES: &str = "integer, int, text, real, numeric, blob";

impl Rules for Sqlite {
    fn relation(&self, schema: Option<&str>, name: &str) -> Relation {
        let of_main = schema.is_none_or(|schema| schema.eq_ignore_ascii_case("main"));
        // A table of this name cannot be made by anybody.
        let catalog = ["sqlite_schema", "sqlite_master"].iter().any(|known| name.eq_ignore_ascii_case(known));
        if of_main && catalog { Relation::AsItIs } else { Relation::Refused }
    }

    fn function(&self, schema: Option<&str>, name: &str) -> bool {
        schema.is_none() && listed(FUNCTIONS, &name.to_ascii_lowercase())
    }

    fn makes(&self, name: &str) -> bool {
        listed(MAKES, &name.to_ascii_lowercase())
    }

    fn data_type(&self, name: &str) -> bool {
        TYPES.split(", ").any(|known| known == name)
    }
}
