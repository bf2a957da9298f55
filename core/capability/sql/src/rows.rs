//! Rows of one statement. A task reads them from the driver, and holds the connection while it
//! does. The rows pass through a short channel, so that a slow reader slows the database down and
//! memory does not grow with the result. When the reader is dropped, the statement is canceled.

use blockyard_call::{ByteStream, Problem, limits};
use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};

use super::connection::Claimed;
use super::pool::Pooled;
use super::sink::{Form, Sink, Stop};
use super::statement::Statement;
use super::{background, mysql, postgres, sqlite};
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

/// Runs a statement. Returns when its first row has arrived, or when it has none.
pub(super) async fn start(mut claimed: Claimed, statement: Statement) -> Result<Rows, Problem> {
    let (started, answer) = oneshot::channel();
    let (form, expected) = oneshot::channel();
    let (reader, gone) = oneshot::channel();
    let reader = Reader { _gone: reader };
    let mut sink = Sink::new(started, expected);
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
