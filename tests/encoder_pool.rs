//! The pool through its public API: order, back-pressure, refusal, shutting down.
#![allow(clippy::pedantic, clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use image::{GrayImage, ImageFormat, Luma};
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use twindex::domain::{ViewNumber, Views};
use twindex::encoder::{Card, Encoder, ImageError, Plan, Pool, PoolError, PoolOptions, Viewed};

fn picture(width: u32, height: u32, nth: u32) -> Bytes {
    let draw = |x: u32, y: u32| Luma([if (x + y * nth) % 17 < 3 { 0 } else { 255 }]);
    let mut file = Vec::new();
    GrayImage::from_fn(width, height, draw)
        .write_to(&mut Cursor::new(&mut file), ImageFormat::Png)
        .unwrap();
    file.into()
}

fn bundled() -> Arc<Encoder> {
    Encoder::bundled().unwrap()
}

fn pool(threads: usize, queue: usize) -> Arc<Pool> {
    let options = PoolOptions {
        threads,
        queue,
        max_batch: 8,
    };
    Arc::new(Pool::new(options))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_each_get_their_own_answer() {
    let pool = pool(2, 4);
    let encoder = bundled();
    let mut callers = tokio::task::JoinSet::new();
    for nth in 0..60 {
        let pool = Arc::clone(&pool);
        callers.spawn(async move { (nth, pool.embed(bundled(), picture(40, 40, nth)).await) });
    }
    while let Some(answer) = callers.join_next().await {
        let (nth, embedding) = answer.unwrap();
        let image = encoder.prepare(&picture(40, 40, nth)).unwrap();
        assert_eq!(embedding.unwrap(), encoder.embed(&[image]).unwrap()[0]);
    }
    assert_eq!(pool.queued(), 0);
}

/// Also where an image has more views than a batch or the queue has room for.
#[tokio::test(flavor = "multi_thread")]
async fn images_of_many_views_and_of_one_share_batches() {
    let pool = pool(2, 4);
    let encoder = bundled();
    let views = |nth: u32| Views::Mean(ViewNumber::new("views", 1 + 5 * nth % 32).unwrap());
    let mut callers = tokio::task::JoinSet::new();
    for nth in 0..40 {
        let pool = Arc::clone(&pool);
        let (image, views) = (picture(40, 40, nth), views(nth));
        let viewed = Viewed { image, views };
        callers.spawn(async move { (nth, pool.embed(bundled(), viewed).await) });
    }
    while let Some(answer) = callers.join_next().await {
        let (nth, embedding) = answer.unwrap();
        let prepared = encoder.prepare_views(&picture(40, 40, nth), views(nth));
        let alone = encoder.embed_views(vec![prepared.unwrap()]).unwrap();
        assert_eq!(embedding.unwrap(), alone[0]);
    }
    assert_eq!(pool.queued(), 0);
}

/// Encoders share threads, queue and even batches, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn each_image_is_embedded_by_its_own_encoder() {
    let plan = Plan {
        widths: [4, 4, 4],
        ..Plan::default()
    };
    let weights = twindex::training::init::initial(plan, 5);
    let other = Arc::new(Encoder::new(&weights, Card::new("other", plan)).unwrap());
    let pool = pool(1, 64);
    let both = [bundled(), other];
    let mut callers = tokio::task::JoinSet::new();
    for nth in 0..40_u32 {
        let (pool, encoder) = (Arc::clone(&pool), Arc::clone(&both[nth as usize % 2]));
        callers.spawn(async move { (nth, pool.embed(encoder, picture(40, 40, nth)).await) });
    }
    while let Some(answer) = callers.join_next().await {
        let (nth, embedding) = answer.unwrap();
        let encoder = &both[nth as usize % 2];
        let image = encoder.prepare(&picture(40, 40, nth)).unwrap();
        assert_eq!(embedding.unwrap(), encoder.embed(&[image]).unwrap()[0]);
    }
}

#[tokio::test]
async fn a_bad_image_fails_alone() {
    let pool = pool(1, 8);
    let (good, bad) = tokio::join!(
        pool.embed(bundled(), picture(20, 20, 1)),
        pool.embed(bundled(), Bytes::from_static(b"no image"))
    );
    assert!(good.is_ok());
    let refused = bad.unwrap_err();
    assert!(matches!(
        refused,
        PoolError::Image(ImageError::Unsupported { .. })
    ));
}

/// Keeps the only thread busy long enough for what follows.
async fn occupy(pool: &Arc<Pool>) -> tokio::task::JoinHandle<Result<(), PoolError>> {
    let slow = picture(4000, 4000, 3);
    let busy = tokio::spawn({
        let pool = Arc::clone(pool);
        async move { pool.embed(bundled(), slow).await.map(|_| ()) }
    });
    // Until it is enqueued, then until it is taken.
    tokio::task::yield_now().await;
    while pool.queued() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    busy
}

#[tokio::test]
async fn a_full_queue_says_busy_and_embed_waits() {
    let pool = pool(1, 1);
    let small = picture(20, 20, 1);
    let busy = occupy(&pool).await;
    let mut waiting = Box::pin(pool.try_embed(bundled(), small.clone()));
    assert!(futures_poll(&mut waiting).await.is_none());
    assert_eq!(pool.queued(), 1);
    assert_eq!(
        pool.try_embed(bundled(), small.clone()).await,
        Err(PoolError::Busy { queue: 1 })
    );
    let patient = pool.embed(bundled(), small.clone());
    let (waited, patient) = tokio::join!(waiting, patient);
    assert_eq!(waited.unwrap(), patient.unwrap());
    busy.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_job_along() {
    let pool = pool(1, 4);
    let busy = occupy(&pool).await;
    for nth in 0..3 {
        let mut gone = Box::pin(pool.embed(bundled(), picture(20, 20, nth)));
        assert!(futures_poll(&mut gone).await.is_none());
    }
    assert_eq!(pool.queued(), 3);
    let patient = pool.try_embed(bundled(), picture(20, 20, 4));
    let (busy, patient) = tokio::join!(busy, patient);
    busy.unwrap().unwrap();
    patient.unwrap();
    // The places of those who left are free again.
    assert_eq!(pool.queued(), 0);
    let all: [_; 4] = std::array::from_fn(|_| pool.try_embed(bundled(), picture(20, 20, 5)));
    for answer in futures_util::future::join_all(all).await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn a_closed_pool_finishes_what_waits_and_refuses_what_comes() {
    let pool = pool(1, 4);
    let busy = occupy(&pool).await;
    let mut waiting = Box::pin(pool.embed(bundled(), picture(20, 20, 1)));
    assert!(futures_poll(&mut waiting).await.is_none());
    pool.close();
    assert_eq!(
        pool.embed(bundled(), picture(20, 20, 1)).await,
        Err(PoolError::Closed)
    );
    let refused = pool.try_embed(bundled(), picture(20, 20, 1)).await;
    assert_eq!(refused, Err(PoolError::Closed));
    assert!(waiting.await.is_ok());
    busy.await.unwrap().unwrap();
}

#[test]
fn a_thread_without_runtime_may_block() {
    let pool = pool(2, 2);
    std::thread::scope(|scope| {
        for nth in 0..6 {
            let pool = &pool;
            scope.spawn(move || {
                pool.embed_blocking(bundled(), picture(30, 30, nth))
                    .unwrap()
            });
        }
    });
}

/// Polls once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
