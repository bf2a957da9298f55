//! Rows of one statement. A task reads them from the driver, and holds the connection while it
//! does. The rows pass through a short channel, so that a slow reader slows the database down and
//! memory does not grow with the result. When the reader is dropped, the statement is canceled.

use blockyard_call::{ByteStream, Problem, limits};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};

use super::arrow::Batches;
use super::cell::{Cell, ColumnKind};
use super::pool::Pooled;
use super::{Claimed, Statement, background, mysql, postgres, sqlite};
use crate::bindings::blockyard::bundle::sql::{Column, Value};

/// Resource `rows`.
pub struct Rows {
    columns: Vec<Column>,
    state: State,
    reader: Reader,
}

/// The receiving end of the rows. Dropping it stops the task that reads them.
struct Reader {
    _gone: oneshot::Sender<()>,
}

enum State {
    /// The first row has arrived, and the form of the rows has not been chosen yet.
    Started(oneshot::Sender<Form>),
    Values {
        receiver: mpsc::Receiver<Result<Vec<Vec<Value>>, Problem>>,
        rest: std::vec::IntoIter<Vec<Value>>,
    },
}

/// Form in which the rows are wanted, with the channel to which they are sent.
enum Form {
    Values(mpsc::Sender<Result<Vec<Vec<Value>>, Problem>>),
    Arrow(mpsc::Sender<Result<Bytes, Problem>>),
}

/// Description of the columns, available before the first row.
pub(super) struct Head {
    pub(super) columns: Vec<Column>,
    pub(super) kinds: Vec<ColumnKind>,
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

/// Runs a statement. Returns when its first row has arrived, or when it has none.
pub(super) async fn start(mut claimed: Claimed, statement: Statement) -> Result<Rows, Problem> {
    let (started, answer) = oneshot::channel();
    let (form, wanted) = oneshot::channel();
    let (reader, gone) = oneshot::channel();
    let reader = Reader { _gone: reader };
    let mut sink = Sink { started: Some(started), form: Some(wanted), target: Target::None, rows: 0 };
    background::spawn(async move {
        let work = async {
            match claimed.start()? {
                Pooled::Postgres(session) => postgres::query(session, statement, &mut sink).await,
                Pooled::Sqlite(session) => sqlite::query(session, statement, &mut sink).await,
                Pooled::Mysql(session) => mysql::query(session, statement, &mut sink).await,
            }
        };
        let produced = tokio::select! {
            produced = work => produced,
            _ = gone => Err(Stop::Unread),
        };
        // Unread rows are still on their way, so such a connection is not reused.
        if !matches!(produced, Err(Stop::Unread)) {
            claimed.finish();
        }
        drop(claimed);
        sink.finish(produced).await;
    });
    let columns = answer.await.map_err(|_| Problem::new("failed", "the database driver stopped unexpectedly"))??;
    Ok(Rows { columns, state: State::Started(form), reader })
}

impl Rows {
    pub(super) fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    /// Returns at most `max` rows; an empty list at the end.
    pub(super) async fn next(&mut self, max: usize) -> Result<Vec<Vec<Value>>, Problem> {
        if let State::Started(_) = self.state {
            let (sender, receiver) = mpsc::channel(1);
            let values = State::Values { receiver, rest: Vec::new().into_iter() };
            if let State::Started(form) = std::mem::replace(&mut self.state, values) {
                let _ = form.send(Form::Values(sender));
            }
        }
        let State::Values { receiver, rest } = &mut self.state else {
            return Ok(Vec::new());
        };
        if rest.len() == 0 {
            match receiver.recv().await {
                Some(batch) => *rest = batch?.into_iter(),
                None => return Ok(Vec::new()),
            }
        }
        Ok(rest.take(max.max(1)).collect())
    }

    /// Returns the rows as an Arrow IPC stream.
    pub(super) fn into_arrow(self) -> ByteStream {
        let State::Started(form) = self.state else {
            let problem =
                Problem::new("invalid", "rows that were read as values cannot be converted to an Arrow stream");
            return stream::iter([Err(problem)]).boxed();
        };
        let (sender, receiver) = mpsc::channel(limits::BATCHES_AHEAD);
        let _ = form.send(Form::Arrow(sender));
        stream::unfold((receiver, self.reader), async |(mut receiver, reader)| {
            receiver.recv().await.map(|batch| (batch, (receiver, reader)))
        })
        .boxed()
    }
}

impl Sink {
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

    async fn finish(mut self, produced: Result<(), Stop>) {
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
