//! Whatever comes first: [`race`] for two futures, [`crate::select!`] for more.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// The output of the future that was first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Waits for one of two futures and drops the other, which stops what it started. Where
/// both are ready, the first named wins.
pub async fn race<A: IntoFuture, B: IntoFuture>(left: A, right: B) -> Either<A::Output, B::Output> {
    let mut left = pin!(left.into_future());
    let mut right = pin!(right.into_future());
    poll_fn(|context| {
        if let Poll::Ready(output) = left.as_mut().poll(context) {
            return Poll::Ready(Either::Left(output));
        }
        right.as_mut().poll(context).map(Either::Right)
    })
    .await
}

/// Waits for the first of several futures, drops the others, and runs the branch of the
/// first. Where several are ready, the first named wins.
///
/// ```
/// use gatepost_sdk::flow::*;
/// use gatepost_sdk::select;
/// use std::time::Duration;
///
/// async fn hold(call: Call) -> Result<(), Exit> {
///     let mut digits = call.digits();
///     select! {
///         digit = digits.next() => call.note("pressed", digit?),
///         played = call.play("music.wav").forever() => drop(played?),
///         slept = call.sleep(Duration::from_secs(60)) => {
///             slept?;
///             call.play("sorry.wav").await?;
///         }
///     }
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! select {
    ($($branches:tt)+) => { $crate::__select!(@parse [] $($branches)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    (@parse [$($done:tt)*] $pattern:pat = $future:expr => $body:block , $($rest:tt)*) => {
        $crate::__select!(@parse [$($done)* {$pattern} {$future} {$body}] $($rest)*)
    };
    (@parse [$($done:tt)*] $pattern:pat = $future:expr => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse [$($done)* {$pattern} {$future} {$body}] $($rest)*)
    };
    (@parse [$($done:tt)*] $pattern:pat = $future:expr => $body:expr , $($rest:tt)*) => {
        $crate::__select!(@parse [$($done)* {$pattern} {$future} {$body}] $($rest)*)
    };
    (@parse [$($done:tt)*] $pattern:pat = $future:expr => $body:expr) => {
        $crate::__select!(@parse [$($done)* {$pattern} {$future} {$body}])
    };
    (@parse [$($done:tt)+]) => {
        match $crate::__select!(@race $($done)+).await { output => $crate::__select!(@branch output $($done)+) }
    };
    (@race {$pattern:pat} {$future:expr} {$body:expr}) => { ::std::future::IntoFuture::into_future($future) };
    (@race {$pattern:pat} {$future:expr} {$body:expr} $($rest:tt)+) => {
        $crate::flow::race($future, $crate::__select!(@race $($rest)+))
    };
    (@branch $output:ident {$pattern:pat} {$future:expr} {$body:expr}) => { match $output { $pattern => $body } };
    (@branch $output:ident {$pattern:pat} {$future:expr} {$body:expr} $($rest:tt)+) => {
        match $output {
            $crate::flow::Either::Left($pattern) => $body,
            $crate::flow::Either::Right(output) => $crate::__select!(@branch output $($rest)+),
        }
    };
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::task::{Context, Waker};

    fn now<T>(future: impl Future<Output = T>) -> T {
        match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(output) => output,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn the_first_branch_that_is_ready_runs() {
        let chosen = now(async {
            crate::select! {
                _ = std::future::pending::<()>() => "never".to_owned(),
                number = ready(7) => format!("number {number}"),
                text = ready("x") => { text.to_owned() }
            }
        });
        assert_eq!(chosen, "number 7");
    }

    #[test]
    fn a_branch_may_leave_the_function() {
        let chosen: Result<(), u8> = now(async {
            crate::select! {
                failed = ready(Err::<(), u8>(3)) => failed?,
                _ = std::future::pending::<()>() => {}
            }
            Ok(())
        });
        assert_eq!(chosen, Err(3));
    }
}
