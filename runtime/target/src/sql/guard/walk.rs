//! The walk over a query: each part is either known to be harmless or refused, by name.

mod expression;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, AlterTableOperation, ArrayElemTypeDef, BinaryOperator, Cte, DataType, Distinct, Expr, Fetch, Function,
    GroupByExpr, Ident, InTarget, Join, JoinConstraint, JoinOperator, LimitClause, NamedWindowDefinition,
    NamedWindowExpr, ObjectName, ObjectNamePart, Offset, OrderBy, OrderByKind, Query, Select, SelectFlavor, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Statement, TableAlias, TableFactor, TableWithJoins, Values,
    WildcardAdditionalOptions, With, visit_expressions,
};

use super::fields::{self, Fields};

/// What a server's dialect allows.
pub(super) trait Rules: Sync {
    /// Whether a relation may be read, and what is read in its place.
    fn relation(&self, schema: Option<&str>, name: &str) -> Relation;
    /// Whether a function only computes or tells of the catalog.
    fn function(&self, schema: Option<&str>, name: &str) -> bool;
    /// Whether a function makes a value that a column may have by itself, such as the time or the next
    /// number, and does nothing else that anybody would notice.
    fn makes(&self, name: &str) -> bool;
    /// Whether a value may be cast to a type, given as it is written, without length.
    fn data_type(&self, name: &str) -> bool;
    /// Whether `SHOW` of a setting tells nothing secret.
    fn show(&self, _name: &str) -> bool {
        false
    }
    /// Whether a parameter is written like this.
    fn placeholder(&self, text: &str) -> bool {
        text == "?"
    }
    /// The quote of identifiers.
    fn quote(&self) -> char {
        '"'
    }
    /// Whether a backslash in a text means something to the server.
    fn backslash(&self) -> bool {
        false
    }
    /// The name as the server takes it, where it is not quoted.
    fn fold(&self, name: &str) -> String {
        name.to_owned()
    }
    /// The names of a function that tells of a setting.
    fn tells_of_settings(&self, _name: &str) -> bool {
        false
    }
    /// Whether there may be types of users, which run functions of their own on each value.
    fn types_of_users(&self) -> bool {
        false
    }
    /// Whether a name after a dot may be a function; see [`fields`].
    fn calls_fields(&self) -> bool {
        false
    }
}

/// What becomes of a relation in a query.
pub(super) enum Relation {
    Refused,
    AsItIs,
    /// Another query is read in its place.
    Instead(Box<Query>),
}

type Verdict = Result<(), String>;

/// The longest name, in bytes. PostgreSQL cuts longer ones, and two could become one.
const MAX_NAME: usize = 63;

/// Whether the expressions of a definition (defaults, checks, keys of an index) call nothing but
/// what computes, or makes a value. Some are called as soon as the thing is defined.
pub(super) fn computes(rules: &dyn Rules, statement: &Statement) -> bool {
    let walk = Walk { rules, tables: BTreeSet::new(), fields: Fields::default() };
    let fine = |expr: &Expr| match expr {
        Expr::Function(Function { name, .. }) => walk.computes(name),
        // Types of users bring functions of their own, and so do operators.
        Expr::Cast { data_type, .. } => match rules.types_of_users() {
            true => walk.data_type(data_type).is_ok(),
            false => !matches!(data_type, DataType::Custom(..)),
        },
        Expr::BinaryOp { op, .. } | Expr::AnyOp { compare_op: op, .. } | Expr::AllOp { compare_op: op, .. } => {
            !matches!(op, BinaryOperator::Custom(_) | BinaryOperator::PGCustomBinaryOperator(_))
        }
        // What stands after a dot may be called with what stands before it.
        Expr::CompoundFieldAccess { access_chain, .. } => {
            !rules.calls_fields() || !access_chain.iter().any(|access| matches!(access, AccessExpr::Dot(_)))
        }
        Expr::Subquery(_) | Expr::Exists { .. } => false,
        Expr::In { target, .. } => matches!(target, InTarget::List(_)),
        _ => true,
    };
    let judged = visit_expressions(statement, |expr| match fine(expr) {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    });
    judged.is_continue() && types(statement).all(|data_type| walk.is_the_servers(data_type))
}

/// The types of the columns that a statement defines.
fn types(statement: &Statement) -> impl Iterator<Item = &DataType> {
    let (columns, operations) = match statement {
        Statement::CreateTable(table) => (table.columns.as_slice(), [].as_slice()),
        Statement::AlterTable(table) => ([].as_slice(), table.operations.as_slice()),
        _ => Default::default(),
    };
    let added = operations.iter().filter_map(|operation| match operation {
        AlterTableOperation::AddColumn { column_def, .. } => Some(column_def),
        _ => None,
    });
    columns.iter().chain(added).map(|column| &column.data_type)
}

/// Judges a statement; says whether it is `SHOW`.
pub(super) fn statement(rules: &dyn Rules, statement: &mut Statement) -> Result<bool, String> {
    match statement {
        Statement::Query(query) => {
            let mut walk = Walk { rules, tables: BTreeSet::new(), fields: Fields::default() };
            walk.query(query)?;
            if rules.calls_fields() {
                walk.fields.judge()?;
            }
            Ok(false)
        }
        Statement::ShowVariable { variable } => {
            let name = variable.iter().map(|part| part.value.to_lowercase()).collect::<Vec<_>>().join(" ");
            if variable.iter().all(|part| part.quote_style.is_none()) && rules.show(&name) {
                return Ok(true);
            }
            Err(format!("SHOW {name}"))
        }
        other => {
            let text = other.to_string();
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            Err(format!("the statement {}", words.join(" ")))
        }
    }
}

struct Walk<'r> {
    rules: &'r dyn Rules,
    /// Names that `WITH` gave to queries of their own. They stay known to the end of the
    /// statement, which is safe: a name that is out of reach for the server is, unqualified, a
    /// relation of the catalog, and those names may not be given.
    tables: BTreeSet<String>,
    fields: Fields,
}

impl Walk<'_> {
    /// Whether a type is one of the server's own: an unqualified name is one of the catalog alone, since
    /// `search_path` is empty. One of users' may be a domain, whose checks are called for each default.
    fn is_the_servers(&self, data_type: &DataType) -> bool {
        match data_type {
            DataType::Custom(name, _) if self.rules.types_of_users() => {
                let catalog = |schema: Option<String>| schema.is_none_or(|schema| schema == "pg_catalog");
                self.qualified(name, "type").is_ok_and(|(schema, _)| catalog(schema))
            }
            DataType::Array(
                ArrayElemTypeDef::AngleBracket(inner)
                | ArrayElemTypeDef::SquareBracket(inner, _)
                | ArrayElemTypeDef::Parenthesis(inner)
                | ArrayElemTypeDef::ParenthesisNotNull(inner)
                | ArrayElemTypeDef::Qualified(inner, _),
            ) => self.is_the_servers(inner),
            _ => true,
        }
    }

    fn query(&mut self, query: &mut Query) -> Verdict {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if !locks.is_empty() {
            return Err("locks on rows (FOR UPDATE, FOR SHARE)".into());
        }
        if for_clause.is_some() || settings.is_some() || format_clause.is_some() || !pipe_operators.is_empty() {
            return Err("FOR, SETTINGS, FORMAT or pipes at the end of a query".into());
        }
        if let Some(With { with_token: _, recursive: _, cte_tables }) = with {
            for Cte { alias, query, from, materialized: _, closing_paren_token: _ } in cte_tables {
                if from.is_some() {
                    return Err("FROM after a query of WITH".into());
                }
                self.names_of(alias)?;
                let name = self.name(&alias.name)?;
                if !matches!(self.rules.relation(None, &name), Relation::Refused) || name.starts_with("pg_") {
                    return Err(format!("WITH {name}, which is the name of a relation of the catalog"));
                }
                if fields::is_value(&name) {
                    return Err(format!("WITH {name}, which is the name of a function"));
                }
                self.tables.insert(name);
                self.query(query)?;
            }
        }
        self.set(body)?;
        if let Some(OrderBy { kind, interpolate }) = order_by {
            if interpolate.is_some() {
                return Err("INTERPOLATE".into());
            }
            match kind {
                OrderByKind::All(_) => return Err("ORDER BY ALL".into()),
                OrderByKind::Expressions(by) => self.order(by)?,
            }
        }
        match limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                self.exprs(limit)?;
                if let Some(Offset { value, rows: _ }) = offset {
                    self.expr(value)?;
                }
                self.exprs(limit_by)?;
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.expr(offset)?;
                self.expr(limit)?;
            }
        }
        if let Some(Fetch { with_ties: _, percent: _, quantity }) = fetch {
            self.exprs(quantity)?;
        }
        Ok(())
    }

    fn set(&mut self, set: &mut SetExpr) -> Verdict {
        match set {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, op: _, set_quantifier: _, right } => {
                self.set(left)?;
                self.set(right)
            }
            SetExpr::Values(Values { explicit_row: _, value_keyword: _, rows }) => {
                rows.iter_mut().try_for_each(|row| self.exprs(&mut row.content))
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err("a query of WITH that writes".into())
            }
            SetExpr::Table(_) => Err("TABLE without SELECT".into()),
        }
    }

    fn select(&mut self, select: &mut Select) -> Verdict {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        if into.is_some() {
            return Err("SELECT INTO".into());
        }
        let foreign = !optimizer_hints.is_empty()
            || select_modifiers.is_some()
            || top.is_some()
            || exclude.is_some()
            || !lateral_views.is_empty()
            || prewhere.is_some()
            || !connect_by.is_empty()
            || !cluster_by.is_empty()
            || !distribute_by.is_empty()
            || !sort_by.is_empty()
            || qualify.is_some()
            || value_table_mode.is_some()
            || !matches!(flavor, SelectFlavor::Standard);
        if foreign {
            return Err("hints and clauses of SELECT that it does not know".into());
        }
        if let Some(Distinct::On(by)) = distinct {
            self.exprs(by)?;
        }
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expr) => self.expr(expr)?,
                SelectItem::ExprWithAlias { expr, alias } => {
                    self.expr(expr)?;
                    self.name(alias)?;
                }
                SelectItem::Wildcard(options) => wildcard(options)?,
                SelectItem::QualifiedWildcard(kind, options) => {
                    wildcard(options)?;
                    match kind {
                        SelectItemQualifiedWildcardKind::ObjectName(name) => {
                            self.names(name)?;
                        }
                        SelectItemQualifiedWildcardKind::Expr(expr) => self.expr(expr)?,
                    }
                }
                SelectItem::ExprWithAliases { .. } => return Err("several names for one column".into()),
            }
        }
        from.iter_mut().try_for_each(|tables| self.tables(tables))?;
        self.exprs(selection)?;
        match group_by {
            GroupByExpr::Expressions(by, modifiers) if modifiers.is_empty() => self.exprs(by)?,
            _ => return Err("GROUP BY ALL, or with modifiers".into()),
        }
        self.exprs(having)?;
        for NamedWindowDefinition(name, window) in named_window {
            self.name(name)?;
            match window {
                NamedWindowExpr::NamedWindow(name) => {
                    self.name(name)?;
                }
                NamedWindowExpr::WindowSpec(spec) => self.window(spec)?,
            }
        }
        Ok(())
    }

    fn tables(&mut self, tables: &mut TableWithJoins) -> Verdict {
        let TableWithJoins { relation, joins } = tables;
        self.table(relation)?;
        for Join { relation, global, join_operator } in joins {
            if *global {
                return Err("GLOBAL JOIN".into());
            }
            self.table(relation)?;
            match join_operator {
                JoinOperator::Join(on)
                | JoinOperator::Inner(on)
                | JoinOperator::Left(on)
                | JoinOperator::LeftOuter(on)
                | JoinOperator::Right(on)
                | JoinOperator::RightOuter(on)
                | JoinOperator::FullOuter(on)
                | JoinOperator::CrossJoin(on) => match on {
                    JoinConstraint::On(expr) => self.expr(expr)?,
                    JoinConstraint::Using(columns) => {
                        for column in columns {
                            self.names(column)?;
                        }
                    }
                    JoinConstraint::Natural | JoinConstraint::None => {}
                    JoinConstraint::UsingAlias(..) => return Err("a name for the columns of USING".into()),
                },
                _ => return Err("a join of a kind that it does not know".into()),
            }
        }
        Ok(())
    }

    fn table(&mut self, table: &mut TableFactor) -> Verdict {
        match table {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_directives,
                inheritance,
            } => {
                self.alias(alias)?;
                let foreign = !with_hints.is_empty()
                    || version.is_some()
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || sample.is_some()
                    || !index_directives.is_empty()
                    || inheritance.is_some();
                if foreign {
                    return Err("hints, versions, partitions or samples of a relation".into());
                }
                if let Some(args) = args {
                    if args.settings.is_some() {
                        return Err("settings of a function".into());
                    }
                    let called = self.called(name)?;
                    self.of_function(alias.as_ref(), called)?;
                    return self.arguments(&mut args.args);
                }
                if *with_ordinality {
                    return Err("WITH ORDINALITY of a relation".into());
                }
                let (schema, name) = self.qualified(name, "relation")?;
                self.of_row(alias.as_ref(), Some(&name))?;
                if schema.is_none() && self.tables.contains(&name) {
                    return Ok(());
                }
                match self.rules.relation(schema.as_deref(), &name) {
                    Relation::AsItIs => Ok(()),
                    Relation::Instead(query) => {
                        let ident = Ident::with_quote(self.rules.quote(), name);
                        let named = || TableAlias { explicit: true, name: ident, columns: vec![], at: None };
                        let alias = Some(alias.take().unwrap_or_else(named));
                        *table = TableFactor::Derived { lateral: false, subquery: query, alias, sample: None };
                        Ok(())
                    }
                    Relation::Refused => {
                        let full = schema.map_or(name.clone(), |schema| format!("{schema}.{name}"));
                        Err(format!("the relation {full}"))
                    }
                }
            }
            TableFactor::Derived { lateral: _, subquery, alias, sample } => {
                if sample.is_some() {
                    return Err("samples".into());
                }
                self.alias(alias)?;
                self.of_row(alias.as_ref(), None)?;
                self.query(subquery)
            }
            TableFactor::Function { lateral: _, name, args, with_ordinality: _, alias } => {
                self.alias(alias)?;
                let called = self.called(name)?;
                self.of_function(alias.as_ref(), called)?;
                self.arguments(args)
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias, with_ordinality: _ } => {
                if *with_offset || with_offset_alias.is_some() {
                    return Err("WITH OFFSET".into());
                }
                self.alias(alias)?;
                self.of_function(alias.as_ref(), "unnest".to_owned())?;
                self.exprs(array_exprs)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.alias(alias)?;
                self.of_row(alias.as_ref(), None)?;
                self.tables(table_with_joins)
            }
            _ => Err("a kind of relation that it does not know".into()),
        }
    }

    fn of_row(&mut self, alias: Option<&TableAlias>, name: Option<&String>) -> Verdict {
        let alias = alias.map(|alias| self.name(&alias.name)).transpose()?;
        if let Some(name) = alias.or_else(|| name.cloned()) {
            self.fields.row(name);
        }
        Ok(())
    }

    fn of_function(&mut self, alias: Option<&TableAlias>, called: String) -> Verdict {
        let columns = alias.into_iter().flat_map(|alias| &alias.columns).map(|column| self.name(&column.name));
        let columns = columns.collect::<Result<_, _>>()?;
        let name = alias.map(|alias| self.name(&alias.name)).transpose()?.unwrap_or(called);
        self.fields.function(name, &columns);
        Ok(())
    }

    fn alias(&self, alias: &Option<TableAlias>) -> Verdict {
        alias.as_ref().map_or(Ok(()), |alias| self.names_of(alias))
    }

    fn names_of(&self, alias: &TableAlias) -> Verdict {
        let TableAlias { explicit: _, name, columns, at } = alias;
        if at.is_some() {
            return Err("AT after a name".into());
        }
        self.name(name)?;
        for column in columns {
            self.name(&column.name)?;
            if let Some(data_type) = &column.data_type {
                self.data_type(data_type)?;
            }
        }
        Ok(())
    }

    /// An identifier as the server takes it.
    fn name(&self, ident: &Ident) -> Result<String, String> {
        let Ident { value, quote_style, span: _ } = ident;
        if value.len() > MAX_NAME {
            return Err(format!("the name {value:?}, which is longer than any server's"));
        }
        match quote_style {
            None if value.chars().all(|c| c.is_alphanumeric() || c == '_') => Ok(self.rules.fold(value)),
            Some(quote) if *quote == self.rules.quote() && !value.contains(*quote) && !value.contains('\\') => {
                Ok(value.clone())
            }
            _ => Err(format!("the name {value:?} as it is written")),
        }
    }

    fn names(&self, name: &ObjectName) -> Result<Vec<String>, String> {
        name.0
            .iter()
            .map(|part| match part {
                ObjectNamePart::Identifier(ident) => self.name(ident),
                ObjectNamePart::Function(_) => Err("a name that is computed".into()),
            })
            .collect()
    }

    fn qualified(&self, name: &ObjectName, what: &str) -> Result<(Option<String>, String), String> {
        let mut names = self.names(name)?;
        match (names.pop(), names.pop(), names.is_empty()) {
            (Some(name), schema, true) => Ok((schema, name)),
            _ => Err(format!("the name of a {what} in another database")),
        }
    }
}

fn wildcard(options: &WildcardAdditionalOptions) -> Verdict {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike: None,
        opt_exclude: None,
        opt_except: None,
        opt_replace: None,
        opt_rename: None,
        opt_alias: None,
    } = options
    else {
        return Err("options of `*`".into());
    };
    Ok(())
}

/// Operators of a schema of one's own could be functions of anybody's.
fn operator(op: &BinaryOperator) -> Verdict {
    match op {
        BinaryOperator::Custom(_) | BinaryOperator::Assignment => Err(format!("the operator {op}")),
        BinaryOperator::PGCustomBinaryOperator(parts) => match parts.as_slice() {
            [schema, sign] if schema == "pg_catalog" && !sign.is_empty() && sign.chars().all(is_sign) => Ok(()),
            _ => Err(format!("the operator {op}")),
        },
        _ => Ok(()),
    }
}

fn is_sign(c: char) -> bool {
    "+-*/<>=~!@#%^&|`?".contains(c)
}

/// A query in place of a relation, from a text of ours.
pub(super) fn instead(grammar: &dyn sqlparser::dialect::Dialect, text: &str) -> Relation {
    let parsed = sqlparser::parser::Parser::parse_sql(grammar, text).ok().and_then(|mut parsed| parsed.pop());
    match parsed {
        Some(Statement::Query(query)) => Relation::Instead(query),
        _ => Relation::Refused,
    }
}

/// Whether a list of words names one.
pub(super) fn listed(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|word| word == name)
}
