//! A [`Renderer`] behind the exports of the renderer's world.

use std::marker::PhantomData;

use super::bindings::provider::tidelock::types::types;
use super::bindings::renderer::exports::tidelock::renderer::renderer as wit;
use super::host::RenderPort;
use super::panic;
use crate::renderer::{self, Place, Problem, Renderer};

/// The exports of a renderer.
pub struct Rendering<R>(PhantomData<R>);

impl<R: Renderer> wit::Guest for Rendering<R> {
    fn describe() -> wit::Description {
        panic::hook();
        let described = renderer::describe::<R>();
        wit::Description {
            name: described.name,
            version: described.version,
            summary: described.summary,
            settings_schema: described.settings_schema.to_string(),
            extras: Vec::new(),
        }
    }

    fn render() -> Result<(), Vec<wit::Problem>> {
        panic::hook();
        renderer::render::<R>(RenderPort).map_err(|problems| problems.0.into_iter().map(problem_out).collect())
    }
}

fn problem_out(problem: Problem) -> wit::Problem {
    wit::Problem {
        message: problem.message,
        place: problem.place.map(place_out),
        hint: problem.hint,
        extras: Vec::new(),
    }
}

pub(super) fn place_out(place: Place) -> types::Place {
    types::Place { file: place.file, line: place.line, column: place.column }
}
