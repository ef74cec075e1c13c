//! The expressions of a query: values, operators, calls, and what stands in them.

use sqlparser::ast::{
    AccessExpr, Array, CaseWhen, CastKind, CeilFloorKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, InTarget, Interval, ObjectName,
    OrderByExpr, OrderByOptions, OrderBySort, Subscript, TypedString, Value, ValueWithSpan, WindowFrameBound,
    WindowSpec, WindowType,
};

use super::super::fields;
use super::{Verdict, Walk, operator};

impl Walk<'_> {
    pub(super) fn exprs<'e>(&mut self, exprs: impl IntoIterator<Item = &'e mut Expr>) -> Verdict {
        exprs.into_iter().try_for_each(|expr| self.expr(expr))
    }

    pub(super) fn expr(&mut self, expr: &mut Expr) -> Verdict {
        match expr {
            Expr::Identifier(name) => self.name(name).map(drop),
            Expr::CompoundIdentifier(names) => self.column(names.iter()),
            Expr::CompoundFieldAccess { root, access_chain } => {
                let (names, taken) = fields::leading(root, access_chain);
                if taken > 0 {
                    self.column(names.into_iter())?;
                } else {
                    self.expr(root)?;
                }
                for access in access_chain.iter_mut().skip(taken) {
                    match access {
                        AccessExpr::Dot(Expr::Identifier(name)) => {
                            let name = self.name(name)?;
                            if self.rules.calls_fields() && !fields::is_column(&name) {
                                return Err(format!("(...).{name}, which may be a call"));
                            }
                        }
                        AccessExpr::Dot(_) => return Err("something else than a name after a dot".into()),
                        AccessExpr::Subscript(Subscript::Index { index }) => self.expr(index)?,
                        AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                            self.exprs(lower_bound.iter_mut().chain(upper_bound).chain(stride))?;
                        }
                    }
                }
                Ok(())
            }
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Nested(inner)
            | Expr::UnaryOp { op: _, expr: inner } => self.expr(inner),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.expr(left)?;
                self.expr(right)
            }
            Expr::BinaryOp { left, op, right }
            | Expr::AnyOp { left, compare_op: op, right, is_some: _ }
            | Expr::AllOp { left, compare_op: op, right } => {
                operator(op)?;
                self.expr(left)?;
                self.expr(right)
            }
            Expr::In { expr, target, negated: _, global } => {
                if *global {
                    return Err("GLOBAL IN".into());
                }
                self.expr(expr)?;
                match target {
                    InTarget::List(items) => self.exprs(items),
                    InTarget::Subquery(query) => self.query(query),
                    InTarget::Unnest(_) | InTarget::Table { .. } => Err("IN with something else than a list".into()),
                }
            }
            Expr::Between { expr, negated: _, low, high } => {
                self.expr(expr)?;
                self.expr(low)?;
                self.expr(high)
            }
            Expr::Like { negated: _, any: _, expr, pattern, escape_char }
            | Expr::ILike { negated: _, any: _, expr, pattern, escape_char }
            | Expr::SimilarTo { negated: _, expr, pattern, escape_char } => {
                self.expr(expr)?;
                self.expr(pattern)?;
                self.exprs(escape_char.as_deref_mut())
            }
            Expr::RLike { negated: _, expr, pattern, regexp: _ } => {
                self.expr(expr)?;
                self.expr(pattern)
            }
            Expr::Cast { kind, expr, data_type, format } => {
                if format.is_some() || !matches!(kind, CastKind::Cast | CastKind::DoubleColon) {
                    return Err("a cast of a kind that it does not know".into());
                }
                self.data_type(data_type)?;
                self.expr(expr)
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                self.expr(timestamp)?;
                self.expr(time_zone)
            }
            Expr::Extract { field: _, syntax: _, expr } => self.expr(expr),
            Expr::Ceil { expr, field } | Expr::Floor { expr, field } => {
                if let CeilFloorKind::Scale(value) = field {
                    self.value(value)?;
                }
                self.expr(expr)
            }
            Expr::Position { expr, r#in } => {
                self.expr(expr)?;
                self.expr(r#in)
            }
            Expr::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
                self.expr(expr)?;
                self.exprs(substring_from.as_deref_mut())?;
                self.exprs(substring_for.as_deref_mut())
            }
            Expr::Trim { trim_where: _, trim_what, expr, trim_characters } => {
                self.exprs(trim_what.as_deref_mut())?;
                self.expr(expr)?;
                self.exprs(trim_characters.iter_mut().flatten())
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.expr(expr)?;
                self.expr(overlay_what)?;
                self.expr(overlay_from)?;
                self.exprs(overlay_for.as_deref_mut())
            }
            Expr::Collate { expr, collation } => {
                self.names(collation)?;
                self.expr(expr)
            }
            Expr::Value(value) => self.value(value),
            Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax }) => {
                if *uses_odbc_syntax {
                    return Err("ODBC's braces".into());
                }
                self.data_type(data_type)?;
                self.value(value)
            }
            Expr::Function(function) => self.function(function),
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.exprs(operand.as_deref_mut())?;
                for CaseWhen { condition, result } in conditions {
                    self.expr(condition)?;
                    self.expr(result)?;
                }
                self.exprs(else_result.as_deref_mut())
            }
            Expr::Exists { subquery, negated: _ } => self.query(subquery),
            Expr::Subquery(query) => self.query(query),
            Expr::Tuple(items) => self.exprs(items),
            Expr::Array(Array { elem, named: _ }) => self.exprs(elem),
            Expr::Interval(Interval { value, leading_field: _, leading_precision: _, last_field: _, .. }) => {
                self.expr(value)
            }
            other => {
                let text: String = other.to_string().chars().take(60).collect();
                Err(format!("an expression of a kind that it does not know: {text}"))
            }
        }
    }

    pub(super) fn column<'n>(&mut self, names: impl Iterator<Item = &'n Ident>) -> Verdict {
        let names = names.map(|name| self.name(name)).collect::<Result<_, _>>()?;
        self.fields.column(names);
        Ok(())
    }

    pub(super) fn function(&mut self, function: &mut Function) -> Verdict {
        let Function { name, uses_odbc_syntax, parameters, args, within_group, filter, null_treatment: _, over } =
            function;
        if *uses_odbc_syntax || !matches!(parameters, FunctionArguments::None) {
            return Err("a call that it does not know how to read".into());
        }
        let called = self.called(name)?;
        match args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => self.query(query)?,
            FunctionArguments::List(FunctionArgumentList { duplicate_treatment: _, args, clauses }) => {
                if self.rules.tells_of_settings(&called) && !self.known_setting(args) {
                    return Err(format!("{called} of a setting that may be secret, or is not written out"));
                }
                self.arguments(args)?;
                for clause in clauses {
                    match clause {
                        FunctionArgumentClause::OrderBy(by) => self.order(by)?,
                        FunctionArgumentClause::Separator(value) => self.value(value)?,
                        _ => return Err("clauses of a call that it does not know".into()),
                    }
                }
            }
        }
        self.order(within_group)?;
        self.exprs(filter.as_deref_mut())?;
        match over {
            None => Ok(()),
            Some(WindowType::NamedWindow(name)) => self.name(name).map(drop),
            Some(WindowType::WindowSpec(spec)) => self.window(spec),
        }
    }

    /// Whether the setting that is asked for stands there as a text and is none of the secret ones.
    pub(super) fn known_setting(&self, args: &[FunctionArg]) -> bool {
        let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(ValueWithSpan { value, span: _ })))) =
            args.first()
        else {
            return false;
        };
        matches!(value, Value::SingleQuotedString(name) if self.rules.show(&name.to_lowercase()))
    }

    pub(super) fn arguments(&mut self, args: &mut [FunctionArg]) -> Verdict {
        for arg in args {
            let (FunctionArg::Unnamed(arg) | FunctionArg::Named { name: _, arg, operator: _ }) = arg else {
                return Err("arguments named by an expression".into());
            };
            match arg {
                FunctionArgExpr::Expr(expr) => self.expr(expr)?,
                FunctionArgExpr::Wildcard => {}
                FunctionArgExpr::QualifiedWildcard(name) => {
                    self.names(name)?;
                }
                FunctionArgExpr::WildcardWithOptions(_) => return Err("options of `*`".into()),
            }
        }
        Ok(())
    }

    /// Judges the name of a function.
    pub(super) fn called(&self, name: &ObjectName) -> Result<String, String> {
        let (schema, name) = self.qualified(name, "function")?;
        if self.rules.function(schema.as_deref(), &name) {
            return Ok(name);
        }
        let full = schema.map_or(name.clone(), |schema| format!("{schema}.{name}"));
        Err(format!("the function {full}"))
    }

    /// Whether a function computes, or makes a value for a column.
    pub(super) fn computes(&self, name: &ObjectName) -> bool {
        let catalog = |schema: Option<&str>| matches!(schema, None | Some("pg_catalog"));
        let made = |(schema, name): (Option<String>, String)| catalog(schema.as_deref()) && self.rules.makes(&name);
        self.called(name).is_ok() || self.qualified(name, "function").is_ok_and(made)
    }

    pub(super) fn window(&mut self, spec: &mut WindowSpec) -> Verdict {
        let WindowSpec { window_name, partition_by, order_by, window_frame } = spec;
        if let Some(name) = window_name {
            self.name(name)?;
        }
        self.exprs(partition_by)?;
        self.order(order_by)?;
        if let Some(frame) = window_frame {
            for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
                match bound {
                    WindowFrameBound::CurrentRow => {}
                    WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => {
                        self.exprs(by.as_deref_mut())?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn order(&mut self, by: &mut [OrderByExpr]) -> Verdict {
        for OrderByExpr { expr, options: OrderByOptions { sort, nulls_first: _ }, with_fill } in by {
            if with_fill.is_some() || matches!(sort, Some(OrderBySort::Using(_))) {
                return Err("ORDER BY with FILL or USING".into());
            }
            self.expr(expr)?;
        }
        Ok(())
    }

    pub(super) fn value(&self, value: &ValueWithSpan) -> Verdict {
        match &value.value {
            Value::Number(..) | Value::Boolean(_) | Value::Null => Ok(()),
            Value::SingleQuotedString(text) => {
                if self.rules.backslash() && text.contains('\\') {
                    return Err("a backslash in a text; give it as a parameter".into());
                }
                Ok(())
            }
            Value::Placeholder(text) if self.rules.placeholder(text) => Ok(()),
            other => Err(format!("the literal {other}; give it as a parameter")),
        }
    }

    pub(super) fn data_type(&self, data_type: &DataType) -> Verdict {
        let text = data_type.to_string();
        let mut name = text.trim_end_matches("[]").to_owned();
        if let (Some(start), Some(end)) = (name.find('('), name.find(')')) {
            let inside = name.get(start + 1..end).unwrap_or("x");
            if inside.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | ' ')) {
                name.replace_range(start..=end, "");
            }
        }
        let name = if name.contains('"') { name } else { name.to_lowercase() };
        let plain = name.strip_prefix("pg_catalog.").unwrap_or(&name);
        if self.rules.data_type(plain.trim()) { Ok(()) } else { Err(format!("a cast to {text}")) }
    }
}
