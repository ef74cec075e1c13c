//! What PostgreSQL lets a query do that only looks.

use sqlparser::dialect::PostgreSqlDialect;

use super::walk::{Relation, Rules, instead, listed};

pub(super) struct Postgres;

/// Relations of `pg_catalog` that hold neither passwords nor what other sessions do nor rows
/// of users' tables.
const CATALOG: &str = "\
    pg_aggregate pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members \
    pg_available_extension_versions pg_available_extensions pg_cast pg_class pg_collation pg_constraint \
    pg_conversion pg_database pg_db_role_setting pg_default_acl pg_depend pg_description pg_enum \
    pg_event_trigger pg_extension pg_foreign_data_wrapper pg_foreign_table pg_group pg_index pg_indexes \
    pg_inherits pg_init_privs pg_language pg_largeobject_metadata pg_matviews pg_namespace pg_opclass \
    pg_operator pg_opfamily pg_parameter_acl pg_partitioned_table pg_policies pg_policy pg_proc \
    pg_publication pg_publication_namespace pg_publication_rel pg_publication_tables pg_range \
    pg_replication_origin pg_rewrite pg_roles pg_rules pg_seclabel pg_seclabels pg_sequence pg_shdepend \
    pg_shdescription pg_shseclabel pg_statistic_ext pg_tables pg_tablespace pg_transform pg_trigger \
    pg_ts_config pg_ts_config_map pg_ts_dict pg_ts_parser pg_ts_template pg_type pg_user pg_views";

/// Views of the standard. `user_mapping_options` and its kind hold passwords.
const INFORMATION_SCHEMA: &str = "\
    administrable_role_authorizations applicable_roles attributes character_sets check_constraints collations \
    column_domain_usage column_privileges column_udt_usage columns constraint_column_usage \
    constraint_table_usage data_type_privileges domain_constraints domains element_types enabled_roles \
    information_schema_catalog_name key_column_usage parameters referential_constraints role_column_grants \
    role_routine_grants role_table_grants role_udt_grants role_usage_grants routine_privileges routines \
    schemata sequences table_constraints table_privileges tables triggered_update_columns triggers \
    udt_privileges usage_privileges user_defined_types view_column_usage view_routine_usage view_table_usage \
    views";

/// Settings that may hold a password.
const SECRET_SETTINGS: &str = "\
    primary_conninfo ssl_passphrase_command archive_command restore_command archive_cleanup_command \
    recovery_end_command ldap_password krb_server_keyfile";

const SETTINGS: &str = "SELECT * FROM pg_catalog.pg_settings WHERE name NOT IN ('primary_conninfo', \
    'ssl_passphrase_command', 'archive_command', 'restore_command', 'archive_cleanup_command', 'recovery_end_command')";

const FILE_SETTINGS: &str = "SELECT * FROM pg_catalog.pg_file_settings WHERE name NOT IN ('primary_conninfo', \
    'ssl_passphrase_command', 'archive_command', 'restore_command', 'archive_cleanup_command', 'recovery_end_command')";

/// Servers with their options but for those that look like secrets.
const SERVERS: &str =
    "SELECT oid, srvname, srvowner, srvfdw, srvtype, srvversion, srvacl FROM pg_catalog.pg_foreign_server";

/// Functions that compute from their arguments, or tell of the catalog. None writes, waits,
/// signals, opens a file or a connection, or runs a text as SQL.
const FUNCTIONS: &str = "\
    array_agg avg bit_or bool_and bool_or count dense_rank every first_value json_agg json_object_agg \
    jsonb_agg jsonb_object_agg lag last_value lead max min rank row_number string_agg sum acldefault \
    aclexplode aclcontains has_any_column_privilege has_column_privilege has_database_privilege \
    has_foreign_data_wrapper_privilege has_function_privilege has_language_privilege has_parameter_privilege \
    has_schema_privilege has_sequence_privilege has_server_privilege has_table_privilege \
    has_tablespace_privilege has_type_privilege makeaclitem pg_has_role col_description current_catalog \
    current_database current_role current_schema current_schemas current_setting current_user format_type \
    obj_description pg_char_to_encoding pg_collation_is_visible pg_describe_object pg_encoding_to_char \
    pg_extension_update_paths pg_function_is_visible pg_get_constraintdef pg_get_expr \
    pg_get_function_arguments pg_get_function_identity_arguments pg_get_function_result pg_get_functiondef \
    pg_get_indexdef pg_get_keywords pg_get_object_address pg_get_partkeydef pg_get_ruledef \
    pg_get_serial_sequence pg_get_statisticsobjdef pg_get_triggerdef pg_get_userbyid pg_get_viewdef \
    pg_identify_object pg_identify_object_as_address pg_is_in_recovery pg_options_to_table \
    pg_table_is_visible pg_tablespace_location pg_type_is_visible pg_typeof session_user shobj_description \
    to_regclass to_regnamespace to_regoper to_regproc to_regprocedure to_regrole to_regtype user version abs \
    age array array_append array_cat array_dims array_length array_lower array_ndims array_position \
    array_positions array_prepend array_remove array_replace array_to_json array_to_string array_upper ascii \
    bit_length btrim cardinality ceil char_length character_length coalesce concat concat_ws current_date \
    current_timestamp date_part date_trunc decode div encode floor format generate_series generate_subscripts \
    greatest initcap isfinite json_array_elements json_array_elements_text json_array_length json_build_array \
    json_build_object json_each json_each_text json_object json_object_keys json_strip_nulls json_typeof \
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object \
    jsonb_each jsonb_each_text jsonb_object jsonb_object_keys jsonb_pretty jsonb_strip_nulls jsonb_typeof \
    least left length lower ltrim md5 mod now nullif octet_length quote_ident quote_literal quote_nullable \
    regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table replace reverse \
    right round row row_to_json rtrim sha256 sign split_part starts_with string_to_array strpos substr \
    substring timezone to_char to_date to_hex to_json to_jsonb to_number to_timestamp translate trim trunc \
    unnest upper";

/// Functions that make a value for a column.
const MAKES: &str = "\
    nextval gen_random_uuid random clock_timestamp statement_timestamp localtimestamp localtime \
    current_time";

const TYPES: &str = "\
    \"char\", aclitem, bigint, bit, bool, boolean, bpchar, bytea, char, character, character varying, cidr, \
    date, decimal, double, double precision, float, float4, float8, inet, int, int2, int2vector, int4, int8, \
    integer, interval, json, jsonb, name, numeric, oid, oidvector, real, regclass, regcollation, regconfig, \
    regdictionary, regnamespace, regoper, regoperator, regproc, regprocedure, regrole, regtype, smallint, \
    text, tid, time, timestamp, timestamp with time zone, timestamp without time zone, timestamptz, uuid, \
    varchar, xid";

impl Rules for Postgres {
    fn relation(&self, schema: Option<&str>, name: &str) -> Relation {
        match (schema, name) {
            (Some("pg_catalog") | None, "pg_settings") => instead(&PostgreSqlDialect {}, SETTINGS),
            (Some("pg_catalog") | None, "pg_file_settings") => instead(&PostgreSqlDialect {}, FILE_SETTINGS),
            (Some("pg_catalog") | None, "pg_foreign_server") => instead(&PostgreSqlDialect {}, SERVERS),
            (Some("pg_catalog") | None, _) if listed(CATALOG, name) => Relation::AsItIs,
            (Some("information_schema"), _) if listed(INFORMATION_SCHEMA, name) => Relation::AsItIs,
            _ => Relation::Refused,
        }
    }

    fn function(&self, schema: Option<&str>, name: &str) -> bool {
        matches!(schema, None | Some("pg_catalog")) && listed(FUNCTIONS, name)
    }

    fn makes(&self, name: &str) -> bool {
        listed(MAKES, name)
    }

    fn data_type(&self, name: &str) -> bool {
        TYPES.split(", ").any(|known| known == name)
    }

    fn show(&self, name: &str) -> bool {
        name != "all" && !listed(SECRET_SETTINGS, name)
    }

    fn placeholder(&self, text: &str) -> bool {
        text.strip_prefix('$').is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
    }

    fn fold(&self, name: &str) -> String {
        name.to_ascii_lowercase()
    }

    fn types_of_users(&self) -> bool {
        true
    }

    fn calls_fields(&self) -> bool {
        true
    }

    fn tells_of_settings(&self, name: &str) -> bool {
        name == "current_setting"
    }
}
