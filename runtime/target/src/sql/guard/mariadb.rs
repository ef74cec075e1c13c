//! What MariaDB and MySQL let a query do that only looks.

use sqlparser::dialect::MySqlDialect;

use super::walk::{Relation, Rules, instead, listed};

pub(super) struct MariaDb {
    /// Whether it is MySQL, whose table of users has other columns.
    pub(super) mysql: bool,
}

const INFORMATION_SCHEMA: &str = "\
    applicable_roles character_sets check_constraints collation_character_set_applicability collations \
    column_privileges columns enabled_roles engines events key_column_usage parameters partitions plugins \
    referential_constraints routines schema_privileges schemata sequences statistics table_constraints \
    table_privileges tables triggers user_privileges views";

const MYSQL: &str = "\
    columns_priv component db default_roles plugin procs_priv proxies_priv role_edges roles_mapping \
    tables_priv";

/// What a row of an account says, without what proves a password; and whether there is none, which is no
/// secret to whoever knows the name. Of several ways to sign in, one may be left over in the list.
const GLOBAL_PRIV: &str = "SELECT Host, User, JSON_REMOVE(Priv, '$.authentication_string', '$.auth_or') AS Priv, \
    JSON_EXISTS(Priv, '$.auth_or[1]') AS several, \
    IFNULL(JSON_VALUE(Priv, '$.plugin'), '') IN ('', 'mysql_native_password', 'mysql_old_password') \
    AND IFNULL(JSON_VALUE(Priv, '$.authentication_string'), '') = '' AS passwordless FROM mysql.global_priv";

const USER_OF_MYSQL: &str = "SELECT Host, User, Select_priv, Insert_priv, Update_priv, Delete_priv, Create_priv, \
    Drop_priv, Reload_priv, Shutdown_priv, Process_priv, File_priv, Grant_priv, References_priv, Index_priv, \
    Alter_priv, Show_db_priv, Super_priv, Create_tmp_table_priv, Lock_tables_priv, Execute_priv, Repl_slave_priv, \
    Repl_client_priv, Create_view_priv, Show_view_priv, Create_routine_priv, Alter_routine_priv, Create_user_priv, \
    Event_priv, Trigger_priv, Create_tablespace_priv, ssl_type, ssl_cipher, x509_issuer, x509_subject, \
    max_questions, max_updates, max_connections, max_user_connections, plugin, password_expired, account_locked \
    FROM mysql.user";

const USER_OF_MARIADB: &str = "SELECT Host, User, Select_priv, Insert_priv, Update_priv, Delete_priv, Create_priv, \
    Drop_priv, Reload_priv, Shutdown_priv, Process_priv, File_priv, Grant_priv, References_priv, Index_priv, \
    Alter_priv, Show_db_priv, Super_priv, Create_tmp_table_priv, Lock_tables_priv, Execute_priv, Repl_slave_priv, \
    Repl_client_priv, Create_view_priv, Show_view_priv, Create_routine_priv, Alter_routine_priv, Create_user_priv, \
    Event_priv, Trigger_priv, Create_tablespace_priv, Delete_history_priv, ssl_type, ssl_cipher, x509_issuer, \
    x509_subject, max_questions, max_updates, max_connections, max_user_connections, plugin, password_expired, \
    is_role, default_role, max_statement_time FROM mysql.user";

const FUNCTIONS: &str = "\
    abs ceil char_length coalesce concat concat_ws count field find_in_set floor greatest group_concat hex if \
    ifnull instr json_array json_arrayagg json_contains json_exists json_extract json_keys json_length \
    json_object json_objectagg json_quote json_query json_remove json_type json_unquote json_valid json_value \
    least left length locate lower ltrim max min mod now nullif quote regexp_replace regexp_substr replace \
    right round row_number rtrim sign strcmp substr substring substring_index sum trim unhex upper version";

/// Functions that make a value for a column.
const MAKES: &str = "\
    current_timestamp current_date current_time localtime localtimestamp uuid";

const TYPES: &str = "\
    binary, char, date, datetime, decimal, double, integer, int, json, signed, signed integer, time, \
    unsigned, unsigned integer";

impl Rules for MariaDb {
    fn relation(&self, schema: Option<&str>, name: &str) -> Relation {
        let name = name.to_ascii_lowercase();
        let schema = schema.map(str::to_ascii_lowercase);
        match (schema.as_deref(), name.as_str()) {
            (Some("information_schema"), _) if listed(INFORMATION_SCHEMA, &name) => Relation::AsItIs,
            (Some("mysql"), "global_priv") if !self.mysql => instead(&MySqlDialect {}, GLOBAL_PRIV),
            (Some("mysql"), "user") if self.mysql => instead(&MySqlDialect {}, USER_OF_MYSQL),
            (Some("mysql"), "user") => instead(&MySqlDialect {}, USER_OF_MARIADB),
            (Some("mysql"), _) if listed(MYSQL, &name) => Relation::AsItIs,
            _ => Relation::Refused,
        }
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

    fn quote(&self) -> char {
        '`'
    }

    fn backslash(&self) -> bool {
        true
    }
}
