//! Which lanes have to get there first: the batches of a rollout, and stacks that need
//! others.
//!
//! Only what Git or the operator changed goes by batches: drift is each target's own, and
//! is healed there whatever goes on elsewhere.

use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::Wait;
use tidelock_model::stack::Rollout;

use crate::report;

/// Where a lane stands, as far as others wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is as the revision says, and the stack's checks hold there.
    There,
    /// It is not there yet.
    Pending,
    /// It was tried at this revision and failed, for this reason.
    Failed(String),
    /// A person left it out: nobody waits for it.
    LeftOut,
}

/// The batch, from 1, of a lane among those of its stack, and how many there are.
/// Lanes that are left out count in none.
#[must_use]
pub fn batch(rollout: &Rollout, lanes: &[(Lane, Standing)], lane: &Lane) -> (usize, usize) {
    let (place, all) = place(lanes, lane);
    (rollout.batch(place, all), rollout.batch(all.saturating_sub(1), all))
}

fn place(lanes: &[(Lane, Standing)], lane: &Lane) -> (usize, usize) {
    let taking_part = || lanes.iter().filter(|(of, standing)| of == lane || *standing != Standing::LeftOut);
    (taking_part().take_while(|(of, _)| of != lane).count(), taking_part().count())
}

/// Why a lane is not to begin yet, for the sake of the other lanes of its stack, which come
/// in the order of their targets. One that failed itself may try again.
#[must_use]
pub fn behind(rollout: &Rollout, lanes: &[(Lane, Standing)], lane: &Lane) -> Option<Wait> {
    if lanes.iter().any(|(of, standing)| of == lane && matches!(standing, Standing::Failed(_))) {
        return None;
    }
    let failed: Vec<(&Lane, &str)> = lanes
        .iter()
        .filter_map(|(of, standing)| match standing {
            Standing::Failed(why) => Some((of, why.as_str())),
            _ => None,
        })
        .collect();
    if let Some((first, why)) = failed.first().filter(|_| failed.len() >= rollout.max_failures.max(1) as usize) {
        return Some(report::rollout_stopped(first, why, failed.len()));
    }
    let (place, all) = place(lanes, lane);
    let own = rollout.batch(place, all);
    // The last of them: the others have mostly got there by then, and whoever waits is woken once.
    let (open, _) = lanes
        .iter()
        .filter(|(_, standing)| *standing != Standing::LeftOut)
        .take_while(|(of, _)| of != lane)
        .enumerate()
        .filter(|(place, (_, standing))| rollout.batch(*place, all) < own && *standing == Standing::Pending)
        .map(|(_, one)| one)
        .last()?;
    Some(report::rollout_batch(open, own, rollout.batch(all - 1, all)))
}

/// Why a lane is not to begin yet, for the sake of a stack that its own needs: that stack's
/// lane on the same target where there is one, else all of its lanes.
#[must_use]
pub fn needs(stack: &Name, lanes: &[(Lane, Standing)], lane: &Lane) -> Option<Wait> {
    let same = lanes.iter().find(|(of, _)| of.target == lane.target);
    let wanted = same.map_or(lanes, std::slice::from_ref);
    let (open, standing) = wanted.iter().rfind(|(_, standing)| *standing != Standing::There)?;
    Some(report::needs(stack, open, standing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_model::stack::Amount;

    fn lane(stack: &str, target: usize) -> Lane {
        let name = |text: &str| Name::new(text).unwrap();
        Lane { source: name("infra"), stack: name(stack), target: name(&format!("t{target}")) }
    }

    /// `.` there, `-` pending, `x` failed, `o` left out.
    fn lanes(text: &str) -> Vec<(Lane, Standing)> {
        let standing = |c| match c {
            '.' => Standing::There,
            'x' => Standing::Failed("boom".to_owned()),
            'o' => Standing::LeftOut,
            _ => Standing::Pending,
        };
        text.chars().enumerate().map(|(i, c)| (lane("web", i), standing(c))).collect()
    }

    /// Which lanes may begin: `!` may, `_` may not.
    fn may(rollout: &Rollout, text: &str) -> String {
        let lanes = lanes(text);
        lanes.iter().map(|(lane, _)| if behind(rollout, &lanes, lane).is_none() { '!' } else { '_' }).collect()
    }

    #[test]
    fn a_batch_begins_when_the_one_before_is_there() {
        let rollout = Rollout { first: Amount::Count(1), then: Amount::Count(2), max_failures: 1 };
        assert_eq!(may(&rollout, "------"), "!_____");
        assert_eq!(may(&rollout, ".-----"), "!!!___");
        assert_eq!(may(&rollout, "..----"), "!!!___");
        assert_eq!(may(&rollout, "...---"), "!!!!!_");
        assert_eq!(may(&rollout, "......"), "!!!!!!");
        assert_eq!(may(&rollout, "-....."), "!_____", "whoever comes back late goes first");
    }

    #[test]
    fn failures_stop_it_and_those_that_failed_may_try_again() {
        let rollout = Rollout { first: Amount::Count(1), then: Amount::Count(2), max_failures: 1 };
        assert_eq!(may(&rollout, "x-----"), "!_____");
        assert_eq!(may(&rollout, ".x----"), "_!____", "neither the rest of the batch nor one that is to be done again");
        let two = Rollout { max_failures: 2, ..rollout };
        assert_eq!(may(&two, "x-----"), "!!!___");
        assert_eq!(may(&two, "xx----"), "!!____");
        let wait = behind(&rollout, &lanes(".x----"), &lane("web", 4)).unwrap();
        assert_eq!(wait.on, Some(lane("web", 1)));
        assert!(wait.message.contains("boom"), "{wait:?}");
    }

    #[test]
    fn nobody_waits_for_what_is_left_out() {
        let rollout = Rollout { first: Amount::Count(1), then: Amount::Count(2), max_failures: 1 };
        assert_eq!(may(&rollout, "o-----"), "!!____");
        assert_eq!(may(&rollout, "oo.---"), "!!!!!_");
        assert_eq!(batch(&rollout, &lanes("oo.---"), &lane("web", 3)), (2, 3));
    }

    #[test]
    fn a_lane_waits_for_the_last_of_the_batch_before() {
        let rollout = Rollout { first: Amount::Count(1), then: Amount::Count(2), max_failures: 1 };
        let wait = behind(&rollout, &lanes(".-----"), &lane("web", 5)).unwrap();
        assert_eq!(wait.on, Some(lane("web", 4)));
        assert_eq!(wait.message, "batch 4 of 4 of the rollout begins once web@t4 is as Git says, and checked");
    }

    #[test]
    fn a_stack_waits_for_what_it_needs_on_its_target_else_everywhere() {
        let db = |text: &str, targets: std::ops::Range<usize>| -> Vec<(Lane, Standing)> {
            lanes(text).into_iter().zip(targets).map(|((_, standing), i)| (lane("db", i), standing)).collect()
        };
        let name = Name::new("db").unwrap();
        let on = |lanes: &[(Lane, Standing)]| needs(&name, lanes, &lane("web", 1)).and_then(|wait| wait.on);
        assert_eq!(on(&db("-.-", 0..3)), None, "its own target counts alone");
        assert_eq!(on(&db(".-.", 0..3)), Some(lane("db", 1)));
        assert_eq!(on(&db("..", 7..9)), None);
        assert_eq!(on(&db("-x", 7..9)), Some(lane("db", 8)));
        assert_eq!(on(&[]), None, "a stack without lanes keeps nobody waiting");
    }
}
