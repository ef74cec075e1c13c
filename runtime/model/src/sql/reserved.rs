//! Settings of PostgreSQL that a wildcard of a grant does not open: those by which programs are
//! loaded or somebody acts as another, and on a role or a database also those that the server
//! leaves to superusers.

use super::{Act, Setting, SqlEffect};

/// What loads programs, or changes who somebody is.
const LOADS: &str = "archive_library dynamic_library_path extension_control_path jit_provider local_preload_libraries \
    role session_authorization session_preload_libraries shared_preload_libraries plperl.on_init \
    plperl.on_plperl_init plperl.on_plperlu_init plpython.path pljava.libjvm_location pltcl.start_proc pltclu.start_proc";
/// Who is let in to the server, and what is allowed to damage it.
const SERVER: &str = "allow_system_table_mods extension_destdir hba_file ident_file ignore_checksum_failure \
    ignore_invalid_pages ignore_system_indexes krb_server_keyfile ssl_ca_file ssl_cert_file ssl_crl_dir ssl_crl_file \
    ssl_key_file zero_damaged_pages";
/// The settings whose context is `superuser`, of PostgreSQL 13 to 18.
const SUPERUSER: &str = "allow_in_place_tablespaces backtrace_functions commit_delay compute_query_id \
    deadlock_timeout debug_discard_caches debug_deadlocks event_triggers jit_debugging_support jit_dump_bitcode \
    jit_profiling_support lc_messages lo_compat_privileges log_autovacuum_min_duration log_btree_build_stats \
    log_connections log_disconnections log_duration log_error_verbosity log_executor_stats log_lock_failures \
    log_lock_waits log_min_duration_sample log_min_duration_statement log_min_error_statement log_min_messages \
    log_parameter_max_length log_parser_stats log_planner_stats log_replication_commands log_statement \
    log_statement_sample_rate log_statement_stats log_temp_files log_transaction_sample_rate max_stack_depth \
    session_replication_role temp_file_limit trace_lock_oidmin trace_lock_table trace_locks trace_lwlocks \
    trace_recovery_messages trace_userlocks track_activities track_cost_delay_timing track_counts track_functions \
    track_io_timing track_wal_io_timing update_process_title wal_compression wal_consistency_checking wal_init_zero \
    wal_recycle";

impl SqlEffect {
    /// The setting that it changes, where only its own name opens that.
    pub(crate) fn reserved(&self) -> Option<&str> {
        let Act::Set(Setting { object, name, .. }) = &self.act else { return None };
        let listed = |list: &str| list.split_whitespace().any(|one| one.eq_ignore_ascii_case(name));
        let reserved = listed(LOADS) || listed(SERVER) || (object.class != "system" && listed(SUPERUSER));
        reserved.then_some(name.as_str())
    }
}
