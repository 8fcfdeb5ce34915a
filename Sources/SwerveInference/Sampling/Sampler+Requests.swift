import SwerveCore
package import SwerveHardware

extension Sampler {
  /// What the head is asked for beside the logits of a tile, and where to. Valid until the next tile.
  package struct HeadRequest {
    /// [tasks]
    package let requests: UnsafePointer<RowRequest>
    package let statistics: StatisticsTable
    /// Whether any row's logits will be read: greedy rows that nothing changes need only their statistics.
    package let keepsLogits: Bool
  }

  /// Decides what is needed of each row of a tile, before its logits are computed.
  package func prepare(_ tasks: [Task]) -> HeadRequest {
    precondition(!tasks.isEmpty && tasks.count <= requests.count, "a tile of at least one row")
    var keeps = false
    for (row, task) in tasks.enumerated() {
      requests[row] = request(task)
      keeps = keeps || task.wantsLogprobs || task.promptToken != nil || !isPlainGreedy(task)
    }
    guard let first = requests.baseAddress else { preconditionFailure("a tile without rows") }
    return HeadRequest(requests: UnsafePointer(first), statistics: direct.table, keepsLogits: keeps)
  }

  private func isPlainGreedy(_ task: Task) -> Bool {
    guard let slot = slots[task.slot] else { return true }
    return slot.isGreedy && !slot.changesLogits
  }

  private func request(_ task: Task) -> RowRequest {
    guard let slot = slots[task.slot] else { return RowRequest(.nothing) }
    if task.promptToken != nil || task.wantsLogprobs { return RowRequest(.sums) }
    return slot.changesLogits ? RowRequest(.nothing) : choiceRequest(slot)
  }

  /// What the choice needs of a row that is ready but for its temperature.
  func choiceRequest(_ slot: borrowing SamplerSlot) -> RowRequest {
    guard !slot.isGreedy else { return RowRequest(.maxima) }
    let params = slot.sampling.params
    return RowRequest(
      factor: 1 / Temperature.effective(params.temperature),
      Choice.needsSums(params, vocabularySize: vocabularySize) ? .sums : .maxima)
  }
}
