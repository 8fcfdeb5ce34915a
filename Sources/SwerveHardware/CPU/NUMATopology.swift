internal import CSwervePlatform

/// Which CPUs share which memory, as the system tells it.
package struct NUMATopology: Sendable, Hashable {
  package struct Node: Sendable, Hashable {
    /// The system's number.
    package var id: Int
    /// Ascending.
    package var cpus: [Int]

    package init(id: Int, cpus: [Int]) {
      self.id = id
      self.cpus = cpus
    }
  }

  /// Ascending by number; those without CPUs are left out.
  package var nodes: [Node]

  package init(nodes: [Node]) { self.nodes = nodes }

  /// - Parameter root: the folder with `online` and a folder for each node, each with `cpulist`. Where it is missing (other
  ///   systems, some containers), there are no nodes.
  package init(root: String = "/sys/devices/system/node") {
    let online = Self.text(root + "/online").flatMap { CPUList.parse($0) } ?? []
    nodes = online.compactMap { id in
      guard let cpus = Self.text("\(root)/node\(id)/cpulist").flatMap({ CPUList.parse($0) }), !cpus.isEmpty else {
        return nil
      }
      return Node(id: id, cpus: cpus)
    }
  }

  private static func text(_ path: String) -> String? {
    var bytes = [CChar](repeating: 0, count: 65_536)
    guard swerve_read_text(path, &bytes, bytes.count) else { return nil }
    return String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// Lists of numbers as the system and flags write them: `0-3,8,10-11`.
package enum CPUList {
  /// Ascending, without repetition; nil where the text is no such list or names a number above 65,535. Empty text is an
  /// empty list. Spaces may stand for commas.
  package static func parse(_ text: String) -> [Int]? {
    var numbers = Set<Int>()
    for part in text.split(whereSeparator: { $0 == "," || $0.isWhitespace }) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1],
        first >= 0, first <= last, last <= 65_535
      else { return nil }
      numbers.formUnion(first...last)
    }
    return numbers.sorted()
  }

  /// Ascending numbers in the shortest such form.
  package static func text(_ numbers: [Int]) -> String {
    var parts: [String] = []
    var place = 0
    while place < numbers.count {
      var end = place
      while end + 1 < numbers.count, numbers[end + 1] == numbers[end] + 1 { end += 1 }
      parts.append(end == place ? "\(numbers[place])" : "\(numbers[place])-\(numbers[end])")
      place = end + 1
    }
    return parts.joined(separator: ",")
  }
}
