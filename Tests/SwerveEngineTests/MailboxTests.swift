import Foundation
import SwerveEngine
import Synchronization
import Testing

@Suite struct MailboxTests {
  @Test func whatIsHeldIsTakenAtOnce() {
    let box = Mailbox<Int>()
    var taken: [Int] = []
    box.post(1)
    box.hold()
    box.hold()
    box.post(2)
    box.take(into: &taken, waits: false)
    #expect(taken.isEmpty)
    box.take(into: &taken, within: 0.001)
    #expect(taken.isEmpty)
    box.release()
    box.take(into: &taken, waits: false)
    #expect(taken.isEmpty)
    box.post(3)
    box.release()
    box.take(into: &taken, waits: false)
    #expect(taken == [1, 2, 3])
    box.take(into: &taken, waits: false)
    #expect(taken.isEmpty)
  }

  /// Who waits sees nothing of a part, and wakes when all is there.
  @Test(arguments: [true, false]) func whoWaitsWakesForAllOfIt(hasDeadline: Bool) async {
    let box = Mailbox<Int>()
    let rounds = 200
    let seen = Mutex<[[Int]]>([])
    await confirmation { isOver in
      await withCheckedContinuation { continuation in
        Thread.detachNewThread {
          var taken: [Int] = []
          while seen.withLock({ $0.joined().count }) < rounds * 3 {
            if hasDeadline { box.take(into: &taken, within: 10) } else { box.take(into: &taken, waits: true) }
            seen.withLock { [taken] in $0.append(taken) }
          }
          continuation.resume()
        }
        Thread.detachNewThread {
          for round in 0..<rounds {
            box.hold()
            for part in 0..<3 {
              box.post(3 * round + part)
              if round % 16 == part { usleep(200) }
            }
            box.release()
          }
        }
      }
      isOver()
    }
    let all = seen.withLock { $0 }
    #expect(all.joined().elementsEqual(0..<3 * rounds))
    #expect(all.allSatisfy { $0.count % 3 == 0 })
  }
}
