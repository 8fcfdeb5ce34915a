internal import CSwervePlatform

/// A worker's process, started by this thread and ended with it at the latest.
package final class WorkerProcess {
  /// The system's number.
  package let id: Int32
  private var isOver = false

  /// This program, whatever its name.
  package static let ownPath = "/proc/self/exe"
  package static let memoryDescriptor: Int32 = 3
  package static let controlDescriptor: Int32 = 4
  package static let regionDescriptor: Int32 = 5
  package static let placesDescriptor: Int32 = 6
  package static let furtherDescriptor: Int32 = 7

  /// Starts a program that finds shared memory and its control socket as descriptors 3 and 4, where there is a region
  /// that outlives it, that as 5, and where there are places that several processes share, those as 6. It gets no other but
  /// regions for workers that it starts itself, as 7, 8, ….
  ///
  /// - Parameter name: what lists of processes show in place of the program's.
  package init(
    name: String, path: String, arguments: [String], memory: Descriptor, control: ControlSocket,
    region: RegionFile? = nil, places: Descriptor? = nil, further: [RegionFile] = []
  ) throws(TransferError) {
    let words = ([name] + arguments).map { word in
      let bytes = Array(word.utf8CString)
      let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
      copy.initialize(from: bytes, count: bytes.count)
      return copy
    }
    defer { for word in words { word.deallocate() } }
    var list: [UnsafeMutablePointer<CChar>?] = words.map { $0 } + [nil]
    let code = list.withUnsafeMutableBufferPointer {
      swerve_process_start(
        path, $0.baseAddress, memory.number, control.number, region?.file.number ?? -1, places?.number ?? -1,
        further.map(\.file.number), Int32(further.count))
    }
    guard code > 0 else { throw .system("start \(path) as a worker", code: -code) }
    id = code
  }

  deinit { kill() }

  /// Whether it ended; the system then forgets it.
  package var hasEnded: Bool {
    if !isOver && swerve_process_ended(id) { isOver = true }
    return isOver
  }

  /// Ends it at once, stopped or not, and waits for that.
  package func kill() {
    if hasEnded { return }
    swerve_process_kill(id)
    isOver = true
  }

  /// In a worker's process, first of all: it ends when the thread that started it does.
  ///
  /// - Throws: when that is gone already.
  package static func enter() throws(TransferError) {
    guard swerve_process_enter(0) else {
      throw .refused("this command is started by swerve serve --placement separated, not by hand")
    }
  }
}
