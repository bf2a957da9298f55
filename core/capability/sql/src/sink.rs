//! The receiving end of a driver: collects rows to batches in the form that the reader wants.

use blockyard_call::{Problem, limits};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use tokio::sync::{mpsc, oneshot};

use super::arrow::Batches;
use super::cell::{Cell, ColumnKind};
use crate::bindings::blockyard::bundle::sql::{Column, Value};

/// Form in which the rows are wanted, with the channel to which they are sent.
pub(super) enum Form {
    Values(mpsc::Sender<Result<Vec<Vec<Value>>, Problem>>),
    Arrow(mpsc::Sender<Result<Bytes, Problem>>),
}

/// Description of the columns, available before the first row.
pub(super) struct Head {
    columns: Vec<Column>,
    kinds: Vec<ColumnKind>,
}

impl Head {
    /// Describes columns by their name, the database's name of their type, and their kind.
    pub(super) fn of(columns: impl Iterator<Item = (String, String, ColumnKind)>) -> Self {
        let described = |(name, type_name, kind)| (Column { name, type_name, nullable: None }, kind);
        let (columns, kinds) = columns.map(described).unzip();
        Self { columns, kinds }
    }
}

/// Receives rows from a driver. The driver calls `head` once, when the statement runs and the first
/// row has arrived, and then `row` for each row.
#[derive(Default)]
pub(super) struct Sink {
    started: Option<oneshot::Sender<Result<Vec<Column>, Problem>>>,
    form: Option<oneshot::Receiver<Form>>,
    target: Target,
    /// Number of rows so far.
    rows: u64,
}

#[derive(Default)]
enum Target {
    #[default]
    None,
    Values {
        sender: mpsc::Sender<Result<Vec<Vec<Value>>, Problem>>,
        batch: Vec<Vec<Value>>,
        bytes: usize,
    },
    Arrow {
        sender: mpsc::Sender<Result<Bytes, Problem>>,
        batches: Box<Batches>,
    },
}

/// Reason for which a driver stops before the last row.
pub(super) enum Stop {
    /// The reader was dropped.
    Unread,
    /// The statement, or the conversion of a row, failed.
    Problem(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Adds the number of the row to a problem with one of its values.
fn in_row(problem: Problem, number: u64) -> Problem {
    Problem { message: format!("row {number}: {}", problem.message), ..problem }
}

impl Sink {
    /// Creates a sink that reports the columns to `started`, and receives the form of the rows from `form`.
    pub(super) fn new(started: oneshot::Sender<Result<Vec<Column>, Problem>>, form: oneshot::Receiver<Form>) -> Self {
        Self { started: Some(started), form: Some(form), target: Target::None, rows: 0 }
    }

    /// Reports that the statement runs, and waits for the form in which its rows are wanted.
    pub(super) async fn head(&mut self, head: Head) -> Result<(), Stop> {
        let Head { columns, kinds } = head;
        let described = columns.clone();
        if let Some(started) = self.started.take() {
            started.send(Ok(columns)).map_err(|_| Stop::Unread)?;
        }
        let form = self.form.take().ok_or(Stop::Unread)?.await.map_err(|_| Stop::Unread)?;
        self.target = match form {
            Form::Values(sender) => Target::Values { sender, batch: Vec::new(), bytes: 0 },
            Form::Arrow(sender) => Target::Arrow { sender, batches: Box::new(Batches::new(described, kinds)) },
        };
        Ok(())
    }

    /// Adds one row. Returns whether [`flush`](Self::flush) is due.
    pub(super) fn row<'row>(
        &mut self,
        cells: impl Iterator<Item = Result<Cell<'row>, Problem>>,
    ) -> Result<bool, Problem> {
        self.rows += 1;
        let number = self.rows;
        let mut cells = cells.map(|cell| cell.map_err(|problem| in_row(problem, number)));
        match &mut self.target {
            Target::None => Ok(false),
            Target::Values { batch, bytes, .. } => {
                let row = cells.try_fold(Vec::new(), |mut row, cell| {
                    let cell = cell?;
                    *bytes += cell.size();
                    row.push(Value::from(cell));
                    Ok(row)
                })?;
                batch.push(row);
                Ok(batch.len() >= limits::VALUE_ROWS || *bytes >= limits::BATCH_BYTES)
            }
            Target::Arrow { batches, .. } => {
                batches.row(cells)?;
                Ok(batches.is_full())
            }
        }
    }

    /// Adds the rows of a driver: the first one, which was read to determine the columns, and the
    /// rest. `cell` decodes a value of a row as described by its column.
    pub(super) async fn rows<R, C>(
        &mut self,
        first: Option<R>,
        mut rest: impl Stream<Item = Result<R, Problem>> + Unpin,
        columns: &[C],
        cell: for<'row> fn(&'row R, usize, &C) -> Result<Cell<'row>, Problem>,
    ) -> Result<(), Stop> {
        let mut next = first;
        while let Some(row) = next {
            if self.row(columns.iter().enumerate().map(|(index, column)| cell(&row, index, column)))? {
                self.flush().await?;
            }
            next = rest.try_next().await?;
        }
        Ok(())
    }

    /// Sends the rows collected so far. Waits while the reader is behind.
    pub(super) async fn flush(&mut self) -> Result<(), Stop> {
        match &mut self.target {
            Target::None => Ok(()),
            Target::Values { sender, batch, bytes } => {
                *bytes = 0;
                sender.send(Ok(std::mem::take(batch))).await.map_err(|_| Stop::Unread)
            }
            Target::Arrow { sender, batches } => sender.send(Ok(batches.flush()?)).await.map_err(|_| Stop::Unread),
        }
    }

    /// Sends the rest of the rows, or the problem that ended them.
    pub(super) async fn finish(mut self, produced: Result<(), Stop>) {
        match produced {
            Err(Stop::Unread) => {}
            Err(Stop::Problem(problem)) => {
                if let Some(started) = self.started.take() {
                    let _ = started.send(Err(problem));
                    return;
                }
                match self.target {
                    Target::None => {}
                    Target::Values { sender, .. } => drop(sender.send(Err(problem)).await),
                    Target::Arrow { sender, .. } => drop(sender.send(Err(problem)).await),
                }
            }
            Ok(()) => match self.target {
                Target::None => {}
                Target::Values { sender, batch, .. } => {
                    if !batch.is_empty() {
                        let _ = sender.send(Ok(batch)).await;
                    }
                }
                Target::Arrow { sender, batches } => {
                    let _ = sender.send(batches.finish()).await;
                }
            },
        }
    }
}
