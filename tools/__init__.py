"""What is made from the code for those who run it: the dashboard, the operator's manual, checks of both."""
