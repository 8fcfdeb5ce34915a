internal import CSwervePlatform
package import SwerveCore

/// The job of Open MPI that a launcher started this process in. Opened by one thread, which alone may use it and what is
/// made of it.
package final class MPIJob {
  package let rank: Int
  package let size: Int

  /// - Throws: `.refused` where there is no Open MPI, or no launcher.
  package init() throws(TransferError) {
    if let why = swerve_mpi_open() { throw .refused(String(cString: why)) }
    rank = Int(swerve_mpi_rank())
    size = Int(swerve_mpi_size())
  }

  /// Leaves the job, as all its processes must.
  package func close() { swerve_mpi_close() }

  /// Ends the job, all of it.
  package func abort(_ code: Int32) { swerve_mpi_abort(code) }
}

/// One end of one direction between two processes of a job; the job's thread owns it. Whoever waits polls MPI, for it
/// makes progress only there, yielding its core at first and then in naps.
package final class MPIChannel: Channel {
  package let capacity: Int
  private let peer: String
  private let number: Int32
  private let tag: Int32
  /// nil = for ever.
  private let seconds: Double?
  /// Messages on their way, [2] of `capacity` bytes, and what says that they have left.
  private let memory: UnsafeMutableRawPointer
  private var requests: [UnsafeMutableRawPointer?] = [nil, nil]
  private var isUsed = [false, false]
  private var next = 0
  private var failure: ChannelError?

  /// - Parameters:
  ///   - rank: of the other side.
  ///   - tag: a number that both ends of this direction have and no other one.
  ///   - peer: the other side's name.
  package init(_ job: MPIJob, rank: Int, tag: Int, peer: String, capacity: Int, seconds: Double?) {
    precondition((0..<job.size).contains(rank), "a rank of the job")
    self.capacity = capacity
    self.peer = peer
    self.seconds = seconds
    number = Int32(rank)
    self.tag = Int32(tag)
    memory = .allocate(byteCount: 2 * capacity, alignment: 64)
  }

  deinit {
    // A message that has not left must stay where it is: the job ends with the process.
    if !isUsed[0] && !isUsed[1] { memory.deallocate() }
  }

  package func reserve(_ byteCount: Int) throws(ChannelError) -> UnsafeMutableRawBufferPointer {
    guard byteCount <= capacity else { throw .tooLong(peer: peer, byteCount: byteCount, capacity: capacity) }
    let slot = next
    try wait { () throws(ChannelError) -> Bool in try hasLeft(slot) }
    return UnsafeMutableRawBufferPointer(start: memory + slot * capacity, count: byteCount)
  }

  private func hasLeft(_ slot: Int) throws(ChannelError) -> Bool {
    guard isUsed[slot] else { return true }
    var ended = false
    try check(swerve_mpi_test(&requests[slot], &ended))
    if ended { isUsed[slot] = false }
    return ended
  }

  package func send(_ byteCount: Int) throws(ChannelError) {
    if let failure { throw failure }
    try check(swerve_mpi_send(memory + next * capacity, byteCount, number, tag, &requests[next]))
    isUsed[next] = true
    next = 1 - next
  }

  package func receive() throws(ChannelError) -> UnsafeRawBufferPointer {
    var count = 0
    try wait { () throws(ChannelError) -> Bool in
      var isThere = false
      try check(swerve_mpi_probe(number, tag, &isThere, &count))
      return isThere
    }
    guard count <= capacity else {
      throw fail(.malformed(peer: peer, reason: "a message of \(count) bytes where \(capacity) are the most"))
    }
    try check(swerve_mpi_receive(memory, count, number, tag))
    return UnsafeRawBufferPointer(start: memory, count: count)
  }

  package func release() throws(ChannelError) { if let failure { throw failure } }

  private func wait(_ isReady: () throws(ChannelError) -> Bool) throws(ChannelError) {
    if let failure { throw failure }
    if try isReady() { return }
    let begin = ContinuousClock.now
    var polls = 0
    while true {
      if try isReady() { return }
      polls += 1
      let waited = begin.duration(to: .now)
      if let seconds, waited > .seconds(seconds) { throw fail(.timedOut(peer: peer, seconds: seconds)) }
      // A reduction takes microseconds; who waits longer is in nobody's way.
      swerve_nap(polls < 200 ? 0 : waited < .milliseconds(20) ? 20 : 500)
    }
  }

  private func check(_ code: Int32) throws(ChannelError) {
    if code != 0 { throw fail(.closed(peer: peer)) }
  }

  private func fail(_ error: ChannelError) -> ChannelError {
    failure = error
    return error
  }
}
