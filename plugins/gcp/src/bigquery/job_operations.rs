//! Operations on jobs: their state, waiting and cancellation.

use std::collections::BTreeMap;
use std::time::Duration;

use blockyard_sdk::prelude::*;

use super::BigqueryWarehouse;
use super::job::Job;
use super::query::WAIT;

#[operations]
impl interface::Job for BigqueryWarehouse {
    /// Returns the current state of a job.
    fn job_status(
        &self,
        /// Job ID.
        job_id: String,
        /// Location of the job, if it is not the block's.
        location: Option<String>,
    ) -> Result<Job> {
        let client = self.client(BTreeMap::new())?;
        client.job(&job_id, location.as_deref().or(self.location.as_deref()))
    }

    /// Waits for a job to finish.
    fn job_wait(
        &self,
        /// Job ID.
        job_id: String,
        /// Location of the job, if it is not the block's.
        location: Option<String>,
        /// Maximum wait in seconds. Defaults to 240.
        timeout_seconds: Option<u64>,
    ) -> Result<Job> {
        let client = self.client(BTreeMap::new())?;
        let job = client.job(&job_id, location.as_deref().or(self.location.as_deref()))?;
        client.wait(job, timeout_seconds.map_or(WAIT, Duration::from_secs))
    }

    /// Requests the cancellation of a job. The job may still complete.
    #[operation(repeatable)]
    fn job_cancel(
        &self,
        /// Job ID.
        job_id: String,
        /// Location of the job, if it is not the block's.
        location: Option<String>,
    ) -> Result<Job> {
        let client = self.client(BTreeMap::new())?;
        client.cancel(&job_id, location.as_deref().or(self.location.as_deref()))
    }
}
