//! shell: random traffic, cuts in between, and a start on what each of them leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use fastrand::Rng;

use super::figures::PowercutFigures;
use super::ledger::{Ledger, News};
use super::payload::Number;
use super::runtime::{Place, Runtime};
use super::world::{Outside, Remains, World, begin};
use crate::model::{Moment, QoS};
use crate::store::disk::{Act, Class, Disk, Image, Operation, Role};

/// Every class of operation is cut at so often before chance decides.
const CUTS_SURE: u64 = 5;
/// One cut in so many is followed by another while the database is being opened again.
const CUT_AGAIN: u32 = 8;
/// After one cut in so many life goes on from there.
const GO_ON: u32 = 30;

/// What is to be proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowercutOptions {
    /// How often the power is cut.
    pub cuts: u64,
    /// Where chance begins.
    pub seed: u64,
    /// How long messages wait in the staged layer, which a cut takes; zero for none.
    pub commit_every: Duration,
    /// Whether the disk acknowledges syncs and does nothing.
    pub lying_disk: bool,
}

/// Cuts the power `cuts` times and says what that cost. Blocks.
///
/// # Errors
/// The gateway did not work while it had power, or there is no memory to stage in.
pub fn powercut(options: PowercutOptions) -> anyhow::Result<PowercutFigures> {
    // The store draws its number from there.
    fastrand::seed(options.seed);
    let mut run = Run::new(options)?;
    run.run().with_context(|| format!("with --seed {}", options.seed))?;
    run.figures.messages = run.ledger.len() as u64;
    Ok(run.figures)
}

struct Run {
    options: PowercutOptions,
    rng: Rng,
    ledger: Ledger,
    figures: PowercutFigures,
    runtime: Option<Runtime>,
}

/// What becomes of a cut.
enum After {
    /// It was looked at, and the gateway is where it was.
    Back,
    /// Life goes on from there.
    On(Box<World>),
}

impl Run {
    fn new(options: PowercutOptions) -> anyhow::Result<Self> {
        let PowercutOptions { seed, commit_every, .. } = options;
        let stages = !commit_every.is_zero();
        let runtime = stages.then(|| Runtime::new(commit_every)).transpose()?;
        Ok(Self {
            options,
            rng: Rng::with_seed(seed),
            ledger: Ledger::new(stages.then_some(commit_every)),
            figures: PowercutFigures { seed, ..PowercutFigures::default() },
            runtime,
        })
    }

    fn place(&mut self) -> Option<Place> {
        self.runtime.as_mut().map(Runtime::place)
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let disk = Disk::new(Image::new());
        if self.options.lying_disk {
            disk.lie();
        }
        let mut world = World::start(disk, self.place(), Outside::default(), begin())?;
        if let After::On(next) = self.examine(&world, &BTreeSet::new())? {
            world = *next;
        }
        while self.figures.cuts < self.options.cuts {
            if self.rng.u32(..1000) == 0 {
                world = self.restart(world)?;
            } else if let After::On(next) = self.step(&mut world)? {
                world = *next;
            }
        }
        Ok(())
    }

    /// The process ends, in order or not, and starts again.
    fn restart(&mut self, world: World) -> anyhow::Result<World> {
        let now = world.now;
        let in_order = self.rng.bool();
        let Remains { disk, place, mut outside } =
            if in_order { world.stop()? } else { world.kill() };
        outside.upstream.handle_cut();
        outside.publisher.handle_cut();
        let world = World::start(disk, place, outside, now)?;
        match self.examine(&world, &BTreeSet::new())? {
            After::Back => Ok(world),
            After::On(next) => Ok(*next),
        }
    }

    fn step(&mut self, world: &mut World) -> anyhow::Result<After> {
        let qos = if self.rng.bool() { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let len = if self.rng.u8(..8) == 0 { 3000 } else { self.rng.usize(20..400) };
        let some = self.rng.usize(1..6);
        match self.rng.u32(..1000) {
            0..150 => {
                for _ in 0..some {
                    world.read(self.ledger.next(qos), qos, len);
                }
            }
            150..300 if world.outside.publisher.has_room() => {
                world.publish(self.ledger.next(qos), qos, len);
            }
            300..550 => return self.work(world),
            550..700 => (0..some).for_each(|_| _ = world.tell_upstream()),
            700..850 => (0..some).for_each(|_| _ = world.hear_upstream()),
            850..950 => (0..some).for_each(|_| _ = world.talk_to_publisher()),
            950..965 => world.connect_upstream(),
            965..980 => world.connect_publisher(),
            980..985 => world.cut_upstream(),
            985..990 => world.cut_publisher(),
            990..1000 => return self.advance(world),
            _ => {}
        }
        self.take_news(world);
        Ok(After::Back)
    }

    /// The store does one thing.
    fn work(&mut self, world: &mut World) -> anyhow::Result<After> {
        if let Some(gone) = world.work_store()? {
            // What happened before the store began to work.
            self.take_news(world);
            let after = self.examine(world, &gone)?;
            if matches!(after, After::On(_)) {
                return Ok(after);
            }
        }
        world.hear_store()?;
        self.take_news(world);
        Ok(After::Back)
    }

    /// Time goes on, once the store has done everything: it is not late.
    fn advance(&mut self, world: &mut World) -> anyhow::Result<After> {
        let mut left = Duration::from_millis(self.rng.u64(1..700));
        loop {
            while world.is_store_asked() {
                let after = self.work(world)?;
                if matches!(after, After::On(_)) {
                    return Ok(after);
                }
            }
            let due = world.poll_flush().map(|at| at.saturating_duration_since(world.now.mono));
            let by = due.unwrap_or(left).min(left);
            world.advance(by);
            left -= by;
            self.take_news(world);
            if world.poll_flush().is_some_and(|at| at <= world.now.mono) {
                world.flush()?;
                let after = self.examine(world, &BTreeSet::new())?;
                if matches!(after, After::On(_)) {
                    return Ok(after);
                }
            }
            if left.is_zero() {
                return Ok(After::Back);
            }
        }
    }

    fn take_news(&mut self, world: &mut World) {
        for news in world.news.drain(..) {
            self.ledger.handle_news(news, world.now.mono);
        }
    }

    /// Cuts the power at some of the operations that the disk has recorded, while the world outside did not change. What
    /// is `gone` was dropped by them.
    fn examine(&mut self, world: &World, gone: &BTreeSet<Number>) -> anyhow::Result<After> {
        let record = world.disk.record();
        let chosen: Vec<bool> = record.iter().map(|operation| self.choose(operation)).collect();
        let mut after = After::Back;
        if chosen.contains(&true) {
            let mut platter = world.disk.before();
            for (operation, chosen) in record.iter().zip(chosen) {
                platter.handle_operation(operation);
                if !chosen || self.figures.cuts >= self.options.cuts {
                    continue;
                }
                let mut news = Vec::new();
                let mut outside = world.outside.clone();
                outside.handle_power_cut(&mut self.rng, &mut news);
                let image = platter.after_cut(&mut self.rng);
                let cut = Cut { class: operation.class(), image, outside, news, now: world.now };
                let next = self.cut(cut, gone, true)?;
                if let Some(next) = next.filter(|_| self.rng.u32(..GO_ON) == 0) {
                    after = After::On(Box::new(next));
                    break;
                }
            }
        }
        world.disk.forget_record();
        if let After::On(next) = &mut after {
            next.disk.forget_record();
            let news: Vec<News> = next.news.drain(..).collect();
            self.ledger.go_on(&news, next.now.mono);
            if self.options.lying_disk {
                next.disk.lie();
            }
        }
        Ok(after)
    }

    fn choose(&mut self, operation: &Operation) -> bool {
        let class = operation.class();
        let one_in = match (class.act, class.role) {
            (Act::Write, Role::Wal) => 40,
            (Act::Sync, Role::Wal) | (Act::Write, Role::Database) => 10,
            _ => 2,
        };
        let so_far = self.figures.by_operation.get(&class).copied().unwrap_or(0);
        so_far < CUTS_SURE || self.rng.u32(..one_in) == 0
    }

    /// Starts a gateway on what a cut has left and lets it deliver everything. Gives it back, with all its news, if it
    /// can be used further.
    fn cut(
        &mut self,
        cut: Cut,
        gone: &BTreeSet<Number>,
        may_cut_again: bool,
    ) -> anyhow::Result<Option<World>> {
        let Cut { class, image, outside, mut news, now } = cut;
        self.figures.handle_cut(class);
        let (disk, place) = (Disk::new(image), self.place());
        let mut world = match World::start(disk, place, outside.clone(), now) {
            Ok(world) => world,
            Err(error) => {
                self.figures.handle_unreadable(class, &error.to_string());
                return Ok(None);
            }
        };
        if may_cut_again && self.rng.u32(..CUT_AGAIN) == 0 {
            self.cut_again(&world, &outside, &news, gone)?;
        }
        let drained = match world.find_damage() {
            Ok(None) => world.drain(),
            Ok(Some(damage)) => Err(anyhow::Error::msg(damage)),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = drained {
            self.figures.handle_unreadable(class, &error.to_string());
            return Ok(None);
        }
        news.append(&mut world.news);
        let verdict = self.ledger.judge(now.mono, gone, &news);
        self.figures.handle_verdict(class, &verdict);
        world.news = news;
        Ok(Some(world))
    }

    /// The power fails once more while the database is opened.
    fn cut_again(
        &mut self,
        world: &World,
        outside: &Outside,
        news: &[News],
        gone: &BTreeSet<Number>,
    ) -> anyhow::Result<()> {
        let record = world.disk.record();
        if record.is_empty() || self.figures.cuts >= self.options.cuts {
            return Ok(());
        }
        let last = self.rng.usize(..record.len());
        let mut platter = world.disk.before();
        record.iter().take(last + 1).for_each(|operation| platter.handle_operation(operation));
        let Some(class) = record.get(last).map(Operation::class) else { return Ok(()) };
        let image = platter.after_cut(&mut self.rng);
        let (outside, news) = (outside.clone(), news.to_vec());
        self.cut(Cut { class, image, outside, news, now: world.now }, gone, false)?;
        Ok(())
    }
}

/// One cut: after what, what is left, and what had happened outside by then.
struct Cut {
    class: Class,
    image: Image,
    outside: Outside,
    news: Vec<News>,
    now: Moment,
}
