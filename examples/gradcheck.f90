! How to check a gradient that is written in Fortran: interfaces to two functions of pleat_check.h, and three checks.
!
!     gfortran examples/gradcheck.f90 $(pkg-config --cflags --libs pleat) -o gradcheck_f && ./gradcheck_f
module pleat_check
  use, intrinsic :: iso_c_binding
  implicit none
  integer(c_int), parameter :: right = 0, wrong = 1, unclear = 2

  interface
    function check_gradient(f, gradient, user, n, x, is_complex, text, bytes) result(verdict) &
        bind(c, name='pleat_check_gradient_plain_f64')
      import
      type(c_funptr), value :: f, gradient
      type(c_ptr), value :: user
      integer(c_size_t), value :: n, bytes
      real(c_double), intent(in) :: x(n)
      integer(c_int), value :: is_complex
      character(kind=c_char), intent(out) :: text(bytes)
      integer(c_int) :: verdict
    end function
    function check_adjoint(a, adjoint, user, n, m, is_complex, text, bytes) result(verdict) &
        bind(c, name='pleat_check_adjoint_plain_f64')
      import
      type(c_funptr), value :: a, adjoint
      type(c_ptr), value :: user
      integer(c_size_t), value :: n, m, bytes
      integer(c_int), value :: is_complex
      character(kind=c_char), intent(out) :: text(bytes)
      integer(c_int) :: verdict
    end function
  end interface
end module

module functions
  use, intrinsic :: iso_c_binding
  implicit none
contains
  ! Rosenbrock's function in n dimensions, and its gradient.
  subroutine rosenbrock(user, n, x, y) bind(c)
    type(c_ptr), value :: user
    integer(c_size_t), value :: n
    real(c_double), intent(in) :: x(n)
    real(c_double), intent(out) :: y
    if (c_associated(user)) stop 2
    y = sum(100 * (x(2:n) - x(1:n-1)**2)**2 + (1 - x(1:n-1))**2)
  end subroutine

  subroutine slope(user, n, x, g) bind(c)
    type(c_ptr), value :: user
    integer(c_size_t), value :: n
    real(c_double), intent(in) :: x(n)
    real(c_double), intent(out) :: g(n)
    if (c_associated(user)) stop 2
    g = 0
    g(1:n-1) = -400 * x(1:n-1) * (x(2:n) - x(1:n-1)**2) - 2 * (1 - x(1:n-1))
    g(2:n) = g(2:n) + 200 * (x(2:n) - x(1:n-1)**2)
  end subroutine

  ! The same with a slip: one index is off by one.
  subroutine wrong_slope(user, n, x, g) bind(c)
    type(c_ptr), value :: user
    integer(c_size_t), value :: n
    real(c_double), intent(in) :: x(n)
    real(c_double), intent(out) :: g(n)
    call slope(user, n, x, g)
    g(3) = g(2)
  end subroutine

  ! A cumulative sum of complex numbers, times i, and its adjoint: the sum from the other end, times -i.
  subroutine running(user, n, x, m, y) bind(c)
    type(c_ptr), value :: user
    integer(c_size_t), value :: n, m
    complex(c_double_complex), intent(in) :: x(n)
    complex(c_double_complex), intent(out) :: y(m)
    integer(c_size_t) :: j
    if (c_associated(user)) stop 2
    do j = 1, m
      y(j) = (0, 1) * sum(x(1:j))
    end do
  end subroutine

  subroutine running_adjoint(user, m, y, n, x) bind(c)
    type(c_ptr), value :: user
    integer(c_size_t), value :: n, m
    complex(c_double_complex), intent(in) :: y(m)
    complex(c_double_complex), intent(out) :: x(n)
    integer(c_size_t) :: i
    if (c_associated(user)) stop 2
    do i = 1, n
      x(i) = (0, -1) * sum(y(i:m))
    end do
  end subroutine
end module

program gradcheck
  use, intrinsic :: iso_c_binding
  use pleat_check
  use functions
  implicit none
  integer(c_size_t), parameter :: n = 20, bytes = 400
  real(c_double) :: x(n)
  character(kind=c_char) :: text(bytes)
  integer :: i, failures = 0
  x = [(0.1d0 * i, i = 1, int(n))]

  call outcome(check_gradient(c_funloc(rosenbrock), c_funloc(slope), c_null_ptr, n, x, 0, text, bytes), right)
  call outcome(check_gradient(c_funloc(rosenbrock), c_funloc(wrong_slope), c_null_ptr, n, x, 0, text, bytes), wrong)
  call outcome(check_adjoint(c_funloc(running), c_funloc(running_adjoint), c_null_ptr, n, n, 1, text, bytes), right)
  if (failures > 0) error stop 1

contains
  subroutine outcome(verdict, expected)
    integer(c_int), intent(in) :: verdict, expected
    integer :: length
    length = 0
    do while (text(length + 1) /= c_null_char)
      length = length + 1
    end do
    print '(*(a))', text(1:length)
    if (verdict /= expected) failures = failures + 1
  end subroutine
end program
