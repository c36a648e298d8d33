//! Ended calls and their journals.

use super::{Listed, Page, Store, StoreError, signed};
use sqlx::{QueryBuilder, Row, Sqlite};

/// One ended call. What the texts hold is known to `records`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedCall {
    pub call_id: String,
    /// none where the call was nobody's
    pub tenant: Option<String>,
    pub received_ms: u64,
    pub status: u16,
    /// JSON
    pub summary: String,
    /// One JSON object a line. Packed in the database.
    pub lines: Vec<u8>,
}

impl Store {
    /// All of them or none. Those that are there already stay as they are, so that the spool
    /// may offer a call twice.
    pub async fn insert_calls(&self, calls: &[EndedCall]) -> Result<(), StoreError> {
        if calls.is_empty() {
            return Ok(());
        }
        let mut transaction = self.pool.begin().await?;
        // One statement for many rows: each statement is a trip to the database's thread.
        for calls in calls.chunks(ROWS) {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO call (call_id, tenant, received_ms, status, summary) ",
            );
            insert.push_values(calls, |mut row, call| {
                row.push_bind(&call.call_id)
                    .push_bind(&call.tenant)
                    .push_bind(signed(call.received_ms))
                    .push_bind(i64::from(call.status))
                    .push_bind(&call.summary);
            });
            insert.push(" ON CONFLICT (call_id) DO NOTHING");
            insert
                .build()
                .persistent(false)
                .execute(&mut *transaction)
                .await?;
            let mut insert =
                QueryBuilder::<Sqlite>::new("INSERT INTO call_journal (call_id, lines) ");
            insert.push_values(calls, |mut row, call| {
                row.push_bind(&call.call_id).push_bind(pack(&call.lines));
            });
            insert.push(" ON CONFLICT (call_id) DO NOTHING");
            insert
                .build()
                .persistent(false)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Summaries, newest first. Without a tenant all calls, also those that were nobody's.
    pub async fn list_calls(
        &self,
        tenant: Option<&str>,
        page: Page,
    ) -> Result<Listed<String>, StoreError> {
        let total: i64 =
            sqlx::query_scalar("SELECT count(*) FROM call WHERE $1 IS NULL OR tenant = $1")
                .bind(tenant)
                .fetch_one(&self.pool)
                .await?;
        let items = sqlx::query_scalar(
            "SELECT summary FROM call WHERE $1 IS NULL OR tenant = $1 ORDER BY received_ms DESC, call_id DESC LIMIT $2 OFFSET $3",
        )
        .bind(tenant)
        .bind(page.limit())
        .bind(page.offset())
        .fetch_all(&self.pool)
        .await?;
        Ok(Listed {
            items,
            total: total.max(0) as u64,
        })
    }

    pub async fn call(&self, call_id: &str) -> Result<Option<EndedCall>, StoreError> {
        let row = sqlx::query(
            "SELECT call.tenant, call.received_ms, call.status, call.summary, call_journal.lines
             FROM call JOIN call_journal ON call_journal.call_id = call.call_id WHERE call.call_id = $1",
        )
        .bind(call_id)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(EndedCall {
            call_id: call_id.to_owned(),
            tenant: row.try_get(0)?,
            received_ms: row.try_get::<i64, _>(1)?.max(0) as u64,
            status: u16::try_from(row.try_get::<i64, _>(2)?).unwrap_or(0),
            summary: row.try_get(3)?,
            lines: unpack(row.try_get(4)?).ok_or(StoreError::Packed)?,
        }))
    }

    /// Takes the calls away that came in before; tells how many. In small steps, so that
    /// nobody else waits long.
    pub async fn forget_calls_before(&self, received_ms: u64) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            let step = sqlx::query("DELETE FROM call WHERE call_id IN (SELECT call_id FROM call WHERE received_ms < $1 LIMIT 500)")
                .bind(signed(received_ms))
                .execute(&self.pool)
                .await?
                .rows_affected();
            forgotten += step;
            if step == 0 {
                return Ok(forgotten);
            }
            tokio::task::yield_now().await;
        }
    }
}

/// LZ4: messages of one call repeat each other, so a fifth remains.
fn pack(lines: &[u8]) -> Vec<u8> {
    lz4_flex::compress_prepend_size(lines)
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    // The size comes first; a damaged one must not become a huge allocation.
    let size = u32::from_le_bytes(packed.get(..4)?.try_into().ok()?);
    if size > LARGEST {
        return None;
    }
    lz4_flex::decompress_size_prepended(packed).ok()
}

/// Of a call's lines, unpacked; more than `records` lets a call have.
const LARGEST: u32 = 64 << 20;
/// Rows of one statement.
const ROWS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    fn call(number: u64, tenant: Option<&str>) -> EndedCall {
        EndedCall {
            call_id: format!("{number:028x}"),
            tenant: tenant.map(str::to_owned),
            received_ms: number,
            status: 200,
            summary: format!("{{\"n\":{number}}}"),
            lines: b"{}\n".to_vec(),
        }
    }

    #[tokio::test]
    async fn a_call_that_is_offered_twice_is_there_once() {
        let (store, _folder) = store().await;
        let calls: Vec<_> = (1..=250).map(|n| call(n, Some("demo"))).collect();
        store.insert_calls(&calls).await.unwrap();
        let again = EndedCall {
            summary: "{}".to_owned(),
            ..call(7, Some("demo"))
        };
        store.insert_calls(&[again, call(251, None)]).await.unwrap();
        let all = store
            .list_calls(
                None,
                Page {
                    page: 1,
                    per_page: 2,
                },
            )
            .await
            .unwrap();
        assert_eq!(all.total, 251);
        assert_eq!(all.items, ["{\"n\":251}", "{\"n\":250}"]);
        let demo = store
            .list_calls(
                Some("demo"),
                Page {
                    page: 125,
                    per_page: 2,
                },
            )
            .await
            .unwrap();
        assert_eq!((demo.total, demo.items.len()), (250, 2));
        assert_eq!(
            store
                .call(&call(7, None).call_id)
                .await
                .unwrap()
                .unwrap()
                .summary,
            "{\"n\":7}"
        );
    }

    #[test]
    fn what_is_packed_comes_out_as_it_was_and_damage_is_told() {
        let lines = b"{\"message\":\"INVITE sip:1000@host SIP/2.0\"}\n".repeat(100);
        let packed = pack(&lines);
        assert!(packed.len() < lines.len() / 5);
        assert_eq!(unpack(&packed), Some(lines));
        assert_eq!(unpack(&pack(b"")), Some(Vec::new()));
        assert_eq!(unpack(&[0xff; 40]), None);
        assert_eq!(unpack(b"ab"), None);
    }

    #[tokio::test]
    async fn old_calls_are_forgotten_with_their_journals() {
        let (store, _folder) = store().await;
        store
            .insert_calls(&(1..=1200).map(|n| call(n, None)).collect::<Vec<_>>())
            .await
            .unwrap();
        assert_eq!(store.forget_calls_before(1200).await.unwrap(), 1199);
        let journals: i64 = sqlx::query_scalar("SELECT count(*) FROM call_journal")
            .fetch_one(&store.pool)
            .await
            .unwrap();
        assert_eq!(journals, 1);
    }
}
