// A library with the functions of NVML that are used, whose card at 0000:41:00.0 uses 1.5 J between two readings.
// NOLINTBEGIN(readability-identifier-naming): names of the library
extern "C" {
int nvmlInit_v2() { return 0; }
int nvmlShutdown() { return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char* pci_bus_id, void** card) {
  static int the_card;
  *card = &the_card;
  return pci_bus_id[5] == '4' ? 0 : 6;  // not found
}
int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* millijoules) {
  static unsigned long long used = 12000;
  *millijoules = used += 1500;
  return 0;
}
}
// NOLINTEND(readability-identifier-naming)
