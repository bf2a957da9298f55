//! Stand-in for MySQL in a build without the `mysql` feature: a session cannot be opened.

use std::convert::Infallible;

use blockyard_call::Problem;
use blockyard_model::SecretValue;

use super::insert::{InsertTarget, Refused};
use super::lease::Lease;
use super::sink::{Sink, Stop};
use super::statement::{Access, Statement};
use super::target::Permitted;
use crate::bindings::blockyard::bundle::sql::{Execution, Value};

/// A session that does not exist.
pub(super) struct Session(Infallible);

impl Session {
    pub(super) async fn open(_: &Permitted, _: Option<&SecretValue>, _: Access, _: Lease) -> Result<Self, Problem> {
        Err(Problem::new("failed", "this build does not support MySQL"))
    }

    pub(super) fn stop(&mut self) {
        match self.0 {}
    }

    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        match self.0 {}
    }

    pub(super) async fn begin(&mut self, _: Access) -> Result<(), Problem> {
        match self.0 {}
    }

    pub(super) async fn commit(&mut self) -> Result<(), Problem> {
        match self.0 {}
    }

    pub(super) async fn rollback(&mut self) -> Result<(), Problem> {
        match self.0 {}
    }
}

pub(super) async fn execute(session: &mut Session, _: Statement) -> Result<Execution, Problem> {
    match session.0 {}
}

pub(super) async fn execute_many(
    session: &mut Session,
    _: &str,
    _: Vec<Vec<Value>>,
    _: Access,
) -> Result<Execution, Refused> {
    match session.0 {}
}

pub(super) async fn insert(session: &mut Session, _: &InsertTarget, _: &[Vec<Value>]) -> Result<u64, Refused> {
    match session.0 {}
}

pub(super) async fn query(session: &mut Session, _: Statement, _: &mut Sink) -> Result<(), Stop> {
    match session.0 {}
}

#[cfg(test)]
pub(super) async fn unscanned(session: &mut Session, _: &str) -> Result<(), Problem> {
    match session.0 {}
}

#[cfg(test)]
pub(super) async fn execute_unscanned(session: &mut Session, _: &'static str) -> Result<(), Problem> {
    match session.0 {}
}

#[cfg(test)]
pub(super) async fn count_parameters(session: &mut Session, _: &str) -> Result<usize, Problem> {
    match session.0 {}
}
